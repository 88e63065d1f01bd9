//! The tree of routes with what each inherits, and the walk through it.

use crate::{
    config::node::Place,
    model::{alert::Labels, matcher::Matcher, time::Span},
};
use std::{collections::BTreeSet, fmt};

/// A route's place in [`Tree::routes`]. The first is the root.
pub(super) type RouteId = usize;

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone)]
pub(super) struct Route {
    pub place: Place,
    pub parent: Option<RouteId>,
    pub children: Vec<RouteId>,
    pub matchers: Vec<Matcher>,
    pub continues: bool,
    pub receiver: String,
    pub group_by: GroupBy,
    /// Where that is written, if it is written here.
    pub group_by_place: Option<Place>,
    pub group_wait: Setting,
    pub group_interval: Setting,
    pub repeat_interval: Setting,
    /// Times at which it says nothing, or alone says something. Nobody inherits them.
    pub intervals: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupBy {
    /// `['...']`
    All,
    Labels(BTreeSet<String>),
}

/// A duration, and who says so.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub span: Span,
    pub said: Said,
}

#[derive(Debug, Clone)]
pub(super) enum Said {
    Here(Place),
    /// By a route above, in this line.
    Above(u32),
    Default,
}

impl Setting {
    pub fn inherited(&self) -> Setting {
        let said = match &self.said {
            Said::Here(place) => Said::Above(place.line),
            other => other.clone(),
        };
        Setting { span: self.span, said }
    }
}

/// `30s (Alertmanager's default)`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.said {
            Said::Here(_) => self.span.fmt(f),
            Said::Above(line) => write!(f, "{} (from line {line})", self.span),
            Said::Default => write!(f, "{} (Alertmanager's default)", self.span),
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupBy::All => f.write_str("['...']"),
            GroupBy::Labels(labels) => {
                write!(f, "[{}]", labels.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Route {
    /// Where to mend a setting: where it is written, else at the route, which lacks it.
    pub fn place_of<'a>(&'a self, setting: &'a Setting) -> &'a Place {
        match &setting.said {
            Said::Here(place) => place,
            Said::Above(_) | Said::Default => &self.place,
        }
    }
}

impl Tree {
    pub fn get(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id)
    }

    /// The routes that take an alert, in their order.
    pub fn walk(&self, labels: &Labels) -> Vec<RouteId> {
        self.walk_without(labels, &BTreeSet::new())
    }

    /// The same, as if some routes (with what is below them) were not there.
    pub fn walk_without(&self, labels: &Labels, left_out: &BTreeSet<RouteId>) -> Vec<RouteId> {
        let mut taken = Vec::new();
        self.descend(0, labels, left_out, &mut taken);
        taken
    }

    /// Whether the route, or one below it, took the alert.
    fn descend(&self, id: RouteId, labels: &Labels, left_out: &BTreeSet<RouteId>, taken: &mut Vec<RouteId>) -> bool {
        let Some(route) = self.get(id).filter(|_| !left_out.contains(&id)) else { return false };
        if !route.matchers.iter().all(|matcher| matcher.matches(labels)) {
            return false;
        }
        let before = taken.len();
        for child in &route.children {
            let took = self.descend(*child, labels, left_out, taken);
            if took && self.get(*child).is_some_and(|child| !child.continues) {
                break;
            }
        }
        if taken.len() == before {
            taken.push(id);
        }
        true
    }

    /// The matchers of a route and of all above it.
    pub fn matchers_to(&self, id: RouteId) -> Vec<&Matcher> {
        let above = std::iter::successors(self.get(id), |route| self.get(route.parent?));
        above.flat_map(|route| &route.matchers).collect()
    }

    /// What a group's key begins with: the matchers of each route on the way, in one order.
    pub fn key(&self, id: RouteId) -> Vec<Vec<String>> {
        let above = std::iter::successors(self.get(id), |route| self.get(route.parent?));
        let of_one = |route: &Route| {
            let mut texts: Vec<String> = route.matchers.iter().map(ToString::to_string).collect();
            texts.sort();
            texts
        };
        above.map(of_one).collect()
    }
}
