//! What to do on the status page: pure, from what it should show, what we last told there and what is there.

use crate::{
    model::{
        letter::{PublicStatus, Published},
        public::{ComponentStatus, LeftAlone, PublicView},
    },
    peer::statuspage::shapes::{Key, Ours, Seen, Write},
};

/// What customers should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub status: PublicStatus,
    /// How bad it is while it lasts.
    pub shows: ComponentStatus,
    pub title: String,
    /// The owner's, for `status`.
    pub sentence: String,
    /// The component's id.
    pub component: String,
    pub notifies: bool,
}

/// A call that is needed, as far as it can be said without looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Open,
    Update,
}

/// What is done once it was looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// It is over, and nobody read of it.
    Nothing,
    Open(Write<'a>),
    Update {
        incident: String,
        write: Write<'a>,
    },
    /// It shows already what it should, or what a person wants.
    Keep {
        incident: String,
        is: Ours,
    },
}

impl Desired {
    /// None: the settings have no sentences for it any more.
    #[must_use]
    pub fn of(public: &PublicView, component: &str, notifies: bool) -> Option<Desired> {
        let is_written = !public.title.is_empty() && !public.sentence.is_empty();
        is_written.then(|| Desired {
            status: public.status,
            shows: public.shows,
            title: public.title.clone(),
            sentence: public.sentence.clone(),
            component: component.to_owned(),
            notifies,
        })
    }

    /// To what the component should be set.
    fn component_status(&self) -> ComponentStatus {
        if self.status == PublicStatus::Resolved { ComponentStatus::Operational } else { self.shows }
    }

    /// Subscribers are mailed when it begins and when it is over, if at all.
    fn mails(&self, opens: bool) -> bool {
        self.notifies && (opens || self.status == PublicStatus::Resolved)
    }
}

/// The call that is needed. None: what we told there is what it should show.
#[must_use]
pub fn next(desired: &Desired, last: Option<&Published>) -> Option<Call> {
    let Some(last) = last else { return Some(Call::Open) };
    let is_same =
        last.status == desired.status && last.component.is_none_or(|component| component == desired.component_status());
    (!is_same).then_some(Call::Update)
}

/// Whether the component is to be looked at before anything is done.
#[must_use]
pub fn asks_for_component(desired: &Desired, there: Option<&Seen>) -> bool {
    match there {
        None => desired.status != PublicStatus::Resolved,
        Some(there) => may_set(desired, there).is_some(),
    }
}

/// What we set the component to, where it should be something else now.
fn may_set(desired: &Desired, there: &Seen) -> Option<ComponentStatus> {
    let set = there.ours.as_ref()?.component?;
    (set != desired.component_status()).then_some(set)
}

/// What is there, with what the journal knows of it where the service does not say it.
#[must_use]
pub fn remembered(there: Seen, key: &Key, last: &Published) -> Seen {
    let known = || Ours { key: key.clone(), status: last.status, component: last.component };
    Seen { ours: Some(there.ours.unwrap_or_else(known)), ..there }
}

/// `component`: how it is, where [`asks_for_component`].
#[must_use]
pub fn step<'a>(
    desired: &'a Desired,
    key: &Key,
    there: Option<&Seen>,
    component: Option<ComponentStatus>,
) -> (Step<'a>, Vec<LeftAlone>) {
    match there {
        None if desired.status == PublicStatus::Resolved => (Step::Nothing, Vec::new()),
        None => open(desired, key, component),
        Some(there) => update(desired, key, there, component),
    }
}

fn open<'a>(desired: &'a Desired, key: &Key, component: Option<ComponentStatus>) -> (Step<'a>, Vec<LeftAlone>) {
    // Who has set it to something was here before us.
    let is_free = component == Some(ComponentStatus::Operational);
    let left = component.filter(|_| !is_free).map(|is| LeftAlone::Component { is });
    let write = Write {
        leaves: Ours { key: key.clone(), status: desired.status, component: is_free.then_some(desired.shows) },
        opens: Some(&desired.title),
        says: Some(&desired.sentence),
        sets: is_free.then_some((desired.component.as_str(), desired.shows)),
        concerns: &desired.component,
        impact: Some(desired.shows.impact()),
        notifies: desired.mails(true),
    };
    (Step::Open(write), left.into_iter().collect())
}

fn update<'a>(
    desired: &'a Desired,
    key: &Key,
    there: &Seen,
    component: Option<ComponentStatus>,
) -> (Step<'a>, Vec<LeftAlone>) {
    let mut left = Vec::new();
    let told = there.ours.as_ref().map(|ours| ours.status);
    let says = match there.status {
        Some(is) if told == Some(is) => is != desired.status,
        // A person moved it. As far as we would, or further: it stays. Less far: it goes on.
        Some(is) if is >= desired.status => {
            left.extend((is > desired.status).then_some(LeftAlone::Incident { is }));
            false
        }
        Some(_) => told.is_some(),
        None => false,
    };
    let mut leaves = Ours {
        key: key.clone(),
        status: if says || there.status == Some(desired.status) {
            desired.status
        } else {
            told.unwrap_or(desired.status)
        },
        component: there.ours.as_ref().and_then(|ours| ours.component),
    };
    let mut sets = None;
    let mut impact = None;
    if let Some(set) = may_set(desired, there) {
        let wanted = desired.component_status();
        match component {
            Some(is) if is == set => {
                sets = Some((desired.component.as_str(), wanted));
                // How bad it was stays in its history.
                let is_ours = there.impact_override.as_deref() == Some(set.impact());
                impact = (is_ours && wanted > set).then_some(wanted.impact());
                leaves.component = Some(wanted);
            }
            Some(is) if is == wanted => leaves.component = Some(wanted),
            Some(is) => left.push(LeftAlone::Component { is }),
            None => {}
        }
    }
    let incident = there.id.clone();
    if !says && sets.is_none() {
        return (Step::Keep { incident, is: leaves }, left);
    }
    let write = Write {
        leaves,
        opens: None,
        says: says.then_some(desired.sentence.as_str()),
        sets,
        concerns: &desired.component,
        impact,
        notifies: says && desired.mails(false),
    };
    (Step::Update { incident, write }, left)
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
