//! What an alertmanager.yml says of routes and receivers. Every other key is Alertmanager's business.
//!
//! Read as Alertmanager reads it: what a route does not say it has from the one above, `group_by: []` included; numbers and
//! words such as `yes` are taken where a text or a truth value is meant; `match` and `match_re` beside `matchers`.

use super::{
    access::{self, Proof},
    keys,
    tree::{GroupBy, Route, RouteId, Said, Setting, Tree},
};
use crate::{
    config::{
        node::{Kind, Node, Place},
        yaml,
    },
    model::{
        matcher::{self, MatchOp, Matcher},
        problem::Problem,
        time::Span,
    },
};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};

const GROUP_WAIT: Span = Span::seconds(30);
const GROUP_INTERVAL: Span = Span::minutes(5);
const REPEAT_INTERVAL: Span = Span::hours(4);
/// Where our webhook is.
const OUR_PATH: &str = "/webhooks/alertmanager";
/// Prometheus knows years, and nobody else does.
const DAYS_OF_A_YEAR: i64 = 365;

#[derive(Debug)]
pub(super) struct Written {
    pub receivers: BTreeMap<String, Receiver>,
    /// None where some of it can't be told.
    pub tree: Option<Tree>,
    /// A webhook whose address is in a file of its own.
    pub hides_an_address: bool,
    pub whole: Place,
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub place: Place,
    /// Its webhooks that lead to nightshift.
    pub ours: Vec<Webhook>,
    /// Its `pagerduty_configs`.
    pub pagers: Vec<Pager>,
    /// It tells somebody.
    pub tells: bool,
}

#[derive(Debug)]
pub(super) struct Webhook {
    pub place: Place,
    pub url: String,
    pub proofs: Vec<Proof>,
    /// Where it is switched off.
    pub never_resolved: Option<Place>,
    /// Where it is cut short, and to how many.
    pub cut_to: Option<(Place, u64)>,
}

#[derive(Debug)]
pub(super) struct Pager {
    /// Whom it pages, where that is written out.
    pub key: Option<(Place, SecretString)>,
    /// Where what has resolved is not sent.
    pub never_resolved: Option<Place>,
    /// Where it uses the first version of the API.
    pub service_key: Option<Place>,
}

impl Receiver {
    pub fn is_ours(&self) -> bool {
        !self.ours.is_empty()
    }
}

impl Written {
    pub fn is_ours(&self, route: &Route) -> bool {
        self.receivers.get(&route.receiver).is_some_and(Receiver::is_ours)
    }

    pub fn pages(&self, route: &Route) -> bool {
        self.receivers.get(&route.receiver).is_some_and(|receiver| !receiver.pagers.is_empty())
    }
}

/// What could be read, and every problem on the way.
pub(super) fn read(name: &str, text: &str) -> (Option<Written>, Vec<Problem>) {
    let (node, problems) = match yaml::foreign_tree(name, text) {
        Ok(read) => read,
        Err(problems) => return (None, problems),
    };
    let mut reader =
        Reader { problems, hides_an_address: false, http: node.get("global").and_then(|it| it.get("http_config")) };
    let Kind::Map(_) = &node.kind else {
        reader.problems.push(node.place.error(format!("expected a mapping, found {}", node.kind.found())));
        return (None, reader.problems);
    };
    let receivers = reader.receivers(node.get("receivers"));
    let mut tree = Tree::default();
    match node.get("route") {
        Some(root) => {
            reader.route(&mut tree, root, None);
        }
        None => reader.problems.push(node.place.error("key `route` is missing")),
    }
    for route in &tree.routes {
        if !receivers.contains_key(&route.receiver) {
            let what = match route.receiver.as_str() {
                "" => "the route at the top has no receiver".to_owned(),
                other => format!("receiver `{other}` is not listed under `receivers`"),
            };
            reader.problems.push(route.place.error(what));
        }
    }
    reader.problems.extend(keys::unknown(&node));
    let is_sound = reader.problems.iter().all(|problem| problem.warning) && !tree.routes.is_empty();
    let hides_an_address = reader.hides_an_address;
    let whole = Place::of(name);
    let written = Written { receivers, tree: is_sound.then_some(tree), hides_an_address, whole };
    (Some(written), reader.problems)
}

struct Reader<'f> {
    problems: Vec<Problem>,
    hides_an_address: bool,
    /// How receivers call that do not say it themselves.
    http: Option<&'f Node>,
}

impl Reader<'_> {
    fn receivers(&mut self, node: Option<&Node>) -> BTreeMap<String, Receiver> {
        let mut receivers = BTreeMap::new();
        for one in self.list(node) {
            let Some(name) = one.get("name").and_then(|name| self.text(name)) else {
                self.problems.push(one.place.error("a receiver without a name"));
                continue;
            };
            let receiver = self.receiver(one);
            if receivers.insert(name.clone(), receiver).is_some() {
                self.problems.push(one.place.error(format!("a second receiver is named `{name}`")));
            }
        }
        receivers
    }

    fn receiver(&mut self, node: &Node) -> Receiver {
        let ours = self.list(node.get("webhook_configs")).iter().filter_map(|one| self.webhook(one)).collect();
        let pagers = self.list(node.get("pagerduty_configs"));
        let pagers: Vec<Pager> = pagers.iter().map(|one| self.pager(one)).collect();
        let tells = match &node.kind {
            Kind::Map(entries) => entries.iter().any(|(key, value)| {
                key.text.ends_with("_configs") && matches!(&value.kind, Kind::List(configs) if !configs.is_empty())
            }),
            _ => false,
        };
        Receiver { place: node.place.clone(), ours, pagers, tells }
    }

    fn pager(&mut self, node: &Node) -> Pager {
        let key = node.get("routing_key").or_else(|| node.get("service_key"));
        let key = key.and_then(|key| Some((key.place.clone(), access::secret(Some(&self.text(key)?))?)));
        Pager {
            key,
            never_resolved: self.never_resolved(node),
            service_key: node.get("service_key").or_else(|| node.get("service_key_file")).map(|key| key.place.clone()),
        }
    }

    fn never_resolved(&mut self, node: &Node) -> Option<Place> {
        let says = node.get("send_resolved")?;
        (self.flag(says) == Some(false)).then(|| says.place.clone())
    }

    /// A webhook that leads to us.
    fn webhook(&mut self, node: &Node) -> Option<Webhook> {
        self.hides_an_address |= node.get("url_file").is_some();
        let url = node.get("url").and_then(|url| self.text(url))?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if !path.ends_with(OUR_PATH) {
            return None;
        }
        let cut = node.get("max_alerts");
        Some(Webhook {
            place: node.place.clone(),
            proofs: access::proofs(node.get("http_config").filter(|http| http.kind != Kind::Null).or(self.http), &url),
            never_resolved: self.never_resolved(node),
            cut_to: cut.and_then(|cut| {
                let most = self.text(cut)?.parse().ok().filter(|most| *most > 0)?;
                Some((cut.place.clone(), most))
            }),
            url,
        })
    }

    fn route(&mut self, tree: &mut Tree, node: &Node, parent: Option<RouteId>) -> Option<RouteId> {
        let Kind::Map(_) = &node.kind else {
            self.problems.push(node.place.error(format!("expected a route, found {}", node.kind.found())));
            return None;
        };
        let above = parent.and_then(|parent| tree.get(parent)).cloned();
        let setting = |reader: &mut Reader<'_>, key: &str, above: Option<&Setting>, absent: Span| {
            let span = node.get(key).and_then(|node| Some((reader.span(node)?, node.place.clone())));
            match (span, above) {
                (Some((span, place)), _) => Setting { span, said: Said::Here(place) },
                (None, Some(above)) => above.inherited(),
                (None, None) => Setting { span: absent, said: Said::Default },
            }
        };
        let above = above.as_ref();
        let (group_by, group_by_place) = match self.group_by(node.get("group_by")) {
            Some((group_by, place)) => (group_by, Some(place)),
            None => (above.map_or(GroupBy::Labels(BTreeSet::new()), |above| above.group_by.clone()), None),
        };
        let receiver = node.get("receiver").and_then(|name| self.text(name)).filter(|name| !name.is_empty());
        let continues = node.get("continue").and_then(|says| self.flag(says)).unwrap_or(false);
        let matchers = self.matchers(node);
        if parent.is_none() && !matchers.is_empty() {
            self.problems.push(node.place.error("the route at the top has matchers: Alertmanager refuses that"));
        }
        let route = Route {
            place: node.place.clone(),
            parent,
            children: Vec::new(),
            matchers,
            continues,
            receiver: receiver.or_else(|| above.map(|above| above.receiver.clone())).unwrap_or_default(),
            group_by,
            group_by_place,
            group_wait: setting(self, "group_wait", above.map(|above| &above.group_wait), GROUP_WAIT),
            group_interval: setting(self, "group_interval", above.map(|it| &it.group_interval), GROUP_INTERVAL),
            repeat_interval: setting(self, "repeat_interval", above.map(|it| &it.repeat_interval), REPEAT_INTERVAL),
            intervals: ["mute_time_intervals", "active_time_intervals"]
                .iter()
                .filter_map(|key| node.get(key))
                .find(|intervals| !self.list(Some(intervals)).is_empty())
                .map(|intervals| intervals.place.clone()),
        };
        let id = tree.routes.len();
        tree.routes.push(route);
        for child in self.list(node.get("routes")) {
            let child = self.route(tree, child, Some(id));
            if let Some(route) = tree.routes.get_mut(id) {
                route.children.extend(child);
            }
        }
        Some(id)
    }

    fn group_by(&mut self, node: Option<&Node>) -> Option<(GroupBy, Place)> {
        let node = node?;
        let labels: BTreeSet<String> = self.list(Some(node)).iter().filter_map(|label| self.text(label)).collect();
        match (labels.contains("..."), labels.len()) {
            // An empty list says nothing: the one above counts.
            (_, 0) => None,
            (true, 1) => Some((GroupBy::All, node.place.clone())),
            (true, _) => {
                self.problems.push(node.place.error("`...` stands beside other labels: Alertmanager refuses that"));
                None
            }
            (false, _) => Some((GroupBy::Labels(labels), node.place.clone())),
        }
    }

    fn matchers(&mut self, node: &Node) -> Vec<Matcher> {
        let mut matchers = Vec::new();
        for (key, op) in [("match", MatchOp::Equal), ("match_re", MatchOp::Matches)] {
            let Some(of) = node.get(key) else { continue };
            let Kind::Map(entries) = &of.kind else {
                if of.kind != Kind::Null {
                    self.problems.push(of.place.error(format!("expected a mapping, found {}", of.kind.found())));
                }
                continue;
            };
            for (label, value) in entries {
                let Some(text) = self.text(value) else { continue };
                // Alertmanager anchors it as it reads it: so it stands in the group's key.
                let text = if op.is_pattern() { format!("^(?:{text})$") } else { text };
                match Matcher::new(&label.text, op, text) {
                    Ok(matcher) => matchers.push(matcher),
                    Err(error) => self.problems.push(value.place.error(error.what())),
                }
            }
        }
        for line in self.list(node.get("matchers")) {
            let Some(text) = self.text(line) else { continue };
            match matcher::parse_list(&text) {
                Ok(list) => matchers.extend(list),
                Err(error) => {
                    let problem = line.place.error(format!("`{text}` is no matcher: {}", error.what()));
                    self.problems.push(match error.hint() {
                        Some(hint) => problem.hint(hint),
                        None => problem,
                    });
                }
            }
        }
        matchers
    }

    fn list<'n>(&mut self, node: Option<&'n Node>) -> &'n [Node] {
        match node.map(|node| &node.kind) {
            Some(Kind::List(items)) => items,
            None | Some(Kind::Null) => &[],
            Some(other) => {
                if let Some(node) = node {
                    self.problems.push(node.place.error(format!("expected a list, found {}", other.found())));
                }
                &[]
            }
        }
    }

    /// Alertmanager takes any scalar where a text is meant.
    fn text(&mut self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Text(text) | Kind::Number(text) => Some(text.clone()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Null => Some(String::new()),
            other @ (Kind::List(_) | Kind::Map(_)) => {
                self.problems.push(node.place.error(format!("expected a text, found {}", other.found())));
                None
            }
        }
    }

    fn flag(&mut self, node: &Node) -> Option<bool> {
        let text = self.text(node)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                self.problems
                    .push(node.place.error(format!("expected `true` or `false`, found {}", node.kind.found())));
                None
            }
        }
    }

    fn span(&mut self, node: &Node) -> Option<Span> {
        let text = self.text(node)?;
        let span = span_of(&text);
        if span.is_none() {
            self.problems.push(node.place.error(format!("`{text}` is not a duration")));
        }
        span
    }
}

/// `5m`, `1h30m`, and `1y` before all else.
fn span_of(text: &str) -> Option<Span> {
    let (years, rest) = match text.split_once('y') {
        Some((years, rest)) => (years.parse::<i64>().ok()?, rest),
        None => (0, text),
    };
    let years = Span(Span::hours(24).0.checked_mul(years.checked_mul(DAYS_OF_A_YEAR)?)?);
    if rest.is_empty() && text != rest { Some(years) } else { Some(years + Span::parse(rest).ok()?) }
}
