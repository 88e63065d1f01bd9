//! The status page: what customers are to be told of a component, and when.
//!
//! An incident whose rule asks for it joins its component's *publication*, once it is told to the world. However many
//! incidents of a component there are, customers see one: the first opens it, the least far of them says how far it is,
//! the most severe how bad, and it is over with the last. Within one opening it never goes back, except that what fires
//! again is open again. Lost contact claims nothing: the page stays as it is until a person resolves the incident.
//!
//! What is said in which words is not decided here: the sentences are the owner's, in the policy.

use super::{
    Decided, Decider, State,
    policy::Wish,
    state::{Incident, IncidentPhase, Publication},
};
use crate::model::{
    event::Event,
    id::{IncidentId, StepId},
    letter::{External, LetterKey, PublicStatus, Published, Receiver, Slot, Told},
    public::{ComponentStatus, Publish},
};

impl Decider<'_> {
    /// Every incident that this input touched: does the status page still show what is?
    pub(super) fn owe_status(&mut self) -> Decided {
        if self.policy.spec.statuspage.is_none() && self.state.publications.is_empty() {
            return Ok(());
        }
        for id in self.touched.clone() {
            self.look_at_status(id)?;
        }
        Ok(())
    }

    fn look_at_status(&mut self, id: IncidentId) -> Decided {
        let joined = self.state.published_on(id).map(|(component, _)| component.clone());
        let (component, joins) = match joined {
            Some(component) => (component, false),
            None => match self.asks_for_status(id) {
                Some(wish) => (wish.component.clone(), true),
                None => return Ok(()),
            },
        };
        let before = self.state.publications.get(&component).cloned();
        let waits = self.policy.spec.statuspage.as_ref().is_none_or(|page| page.publish == Publish::Draft);
        let mut now = before.clone().unwrap_or_else(|| Publication::begun(id, waits));
        now.members.insert(id);
        now.status = goes(now.status, self.state.public_status(&now));
        now.shows = self.shows(&component, &now);
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let Publication { incident, status, shows, waits, .. } = now;
        let due = Event::StatusDue {
            component: component.clone(),
            incident,
            joined: joins.then_some(id),
            status,
            shows,
            waits,
        };
        self.emit(due)?;
        if joins && before.is_some() {
            self.post(id, format!("Status page: incident {incident} speaks for {component}."))?;
        }
        if !waits {
            return self.owe_publication(component, incident);
        }
        if before.is_none() {
            self.post(
                id,
                format!("Status page: {component} waits to be published. To do it: nightshift publish {id}"),
            )?;
        }
        // Its message shows what would be published.
        self.touched.insert(incident);
        Ok(())
    }

    /// The wish of an incident that customers do not know of yet.
    fn asks_for_status(&self, id: IncidentId) -> Option<&Wish> {
        let page = self.policy.spec.statuspage.as_ref()?;
        let incident = self.state.incidents.get(&id)?;
        if incident.phase != IncidentPhase::Open || incident.firing == 0 || !is_told_to_the_world(incident) {
            return None;
        }
        let wish = self.policy.rule(&incident.rule)?.statuspage.as_ref()?;
        let is_meant = wish.severities.contains(&incident.severity) && page.components.contains_key(&wish.component);
        is_meant.then_some(wish)
    }

    /// As bad as the worst of its incidents, and never better before it is over.
    fn shows(&self, component: &str, publication: &Publication) -> ComponentStatus {
        let known = self.policy.spec.statuspage.as_ref().and_then(|page| page.components.get(component));
        let Some(known) = known else { return publication.shows };
        let live = publication.members.iter().filter_map(|id| self.state.incidents.get(id));
        let live = live.filter(|incident| incident.phase != IncidentPhase::Resolved);
        let shown = live.map(|incident| {
            let written = known.shows.get(&incident.severity).copied();
            written.unwrap_or_else(|| ComponentStatus::of_rank(incident.rank))
        });
        shown.fold(publication.shows, ComponentStatus::max)
    }

    fn owe_publication(&mut self, component: String, incident: IncidentId) -> Decided {
        let letter = LetterKey { receiver: Receiver::Statuspage { component }, incident, slot: Slot::Card };
        self.emit(Event::Tell { letter, note: None })
    }

    /// A person lets what waits go out to customers.
    pub(super) fn publish(&mut self, by: &str, id: IncidentId) -> Decided {
        if !self.state.incidents.contains_key(&id) {
            return self.refuse(format!("there is no incident {id}"));
        }
        let Some((component, publication)) = self.state.published_on(id) else {
            return self.refuse(format!("nothing of incident {id} waits to be published"));
        };
        if !publication.waits {
            return match &publication.published_by {
                Some(earlier) => self.refuse(format!("{earlier} has published it already")),
                None => self.refuse(format!("incident {id} is published by itself: nothing waits")),
            };
        }
        let (component, incident) = (component.clone(), publication.incident);
        self.touched.extend([id, incident]);
        self.emit(Event::StatusPublished { component: component.clone(), incident, by: by.to_owned() })?;
        self.owe_publication(component.clone(), incident)?;
        self.post(incident, format!("{by} publishes it on the status page ({component})."))
    }

    /// What became of telling customers is said in the thread.
    pub(super) fn status_told(&mut self, letter: &LetterKey, component: &str, up_to: u64, result: &Told) -> Decided {
        let before = self.state.letters.get(letter).and_then(|known| known.external.as_ref()?.published().cloned());
        self.touched.insert(letter.incident);
        let says = match result {
            Told::Sent { external } => {
                let letter = letter.clone();
                self.emit(Event::LetterTold { letter, up_to, external: external.clone() })?;
                match external.as_ref().and_then(External::published) {
                    Some(now) => what_is_new(before.as_ref(), now),
                    None => Some("it was over before anything was published".to_owned()),
                }
            }
            Told::Failed { reason } => {
                self.emit(Event::LetterFailed { letter: letter.clone(), reason: reason.clone() })?;
                Some(format!("customers were not told: {reason}. A person has to look there"))
            }
            Told::Waits { .. } => None,
        };
        match says {
            Some(says) => self.post(letter.incident, format!("Status page, {component}: {says}.")),
            None => Ok(()),
        }
    }

    /// Only where customers read of it.
    pub(super) fn stays_published(&self, id: IncidentId) -> &'static str {
        match self.state.published_on(id) {
            Some((_, publication)) if !publication.waits => {
                " The status page stays as it is: a person has to resolve the incident for customers to read that it is over."
            }
            _ => "",
        }
    }
}

/// From one look to the next. What fires again is open again; else it only goes forward.
fn goes(from: PublicStatus, to: PublicStatus) -> PublicStatus {
    match (from, to) {
        (PublicStatus::Monitoring | PublicStatus::Resolved, to) => to,
        (from, to) => from.max(to),
    }
}

fn what_is_new(before: Option<&Published>, now: &Published) -> Option<String> {
    let mut says = Vec::new();
    let status = before.map(|before| before.status);
    let component = before.and_then(|before| before.component);
    if status != Some(now.status) {
        says.push(format!("{}, published", now.status.word()));
    }
    if let Some(component) = now.component.filter(|now| component != Some(*now)) {
        says.push(format!("the component is {} now", component.says()));
    }
    let left = now.left_alone.iter().filter(|left| !before.is_some_and(|before| before.left_alone.contains(left)));
    says.extend(left.map(|left| left.says()));
    (!says.is_empty()).then(|| says.join("; "))
}

/// It is a story of its own: customers do not read of a child beside its parent. Nor, while its page is held, of what
/// perhaps nobody need be woken for.
fn is_told_to_the_world(incident: &Incident) -> bool {
    incident.parent.is_none() && !incident.page_may_wait()
}

impl State {
    /// The publication that an incident belongs to, and its component.
    pub(super) fn published_on(&self, id: IncidentId) -> Option<(&String, &Publication)> {
        self.publications.iter().find(|(_, publication)| publication.members.contains(&id))
    }

    /// How far the least far of its incidents is.
    fn public_status(&self, publication: &Publication) -> PublicStatus {
        let members = publication.members.iter().filter_map(|id| Some((*id, self.incidents.get(id)?)));
        let far = members.map(|(id, incident)| match incident.phase {
            IncidentPhase::Resolved => PublicStatus::Resolved,
            IncidentPhase::Monitoring => PublicStatus::Monitoring,
            // Contact with its alerts is lost: nothing new can be said of it.
            IncidentPhase::Open if incident.firing == 0 => publication.status.min(PublicStatus::Monitoring),
            IncidentPhase::Open if incident.acknowledged_by.is_some() || self.has_begun_to_fix(id) => {
                PublicStatus::Identified
            }
            IncidentPhase::Open => PublicStatus::Investigating,
        });
        far.min().unwrap_or(PublicStatus::Resolved)
    }

    fn has_begun_to_fix(&self, id: IncidentId) -> bool {
        let range = StepId { incident: id, number: 0 }..=StepId { incident: id, number: u32::MAX };
        self.steps.range(range).any(|(_, step)| step.purpose.is_fix() && step.started_at.is_some())
    }

    /// Customers still read of a component under this incident's letter.
    pub(super) fn leads_a_publication(&self, id: IncidentId) -> bool {
        self.publications.values().any(|publication| publication.incident == id)
    }

    /// What is due of a component. Of what nobody published and is over nothing is left.
    pub(super) fn status_due(&mut self, component: &str, due: Publication, joined: Option<IncidentId>) {
        let Publication { incident, status, shows, waits, .. } = due;
        let known =
            self.publications.entry(component.to_owned()).or_insert_with(|| Publication::begun(incident, waits));
        (known.status, known.shows) = (status, shows);
        known.members.extend(joined);
        if status == PublicStatus::Resolved && known.waits {
            self.publications.remove(component);
        }
    }

    /// Customers know that it is over, or never will: the next incident of the component is another story.
    pub(super) fn end_publication(&mut self, letter: &LetterKey) {
        let Receiver::Statuspage { component } = &letter.receiver else { return };
        let is_over = self.publications.get(component).is_some_and(|publication| {
            publication.incident == letter.incident && publication.status == PublicStatus::Resolved
        });
        if is_over && !self.owed.contains(letter) {
            self.publications.remove(component);
        }
    }

    /// An incident that is forgotten is over.
    pub(super) fn forget_published(&mut self, id: IncidentId) {
        for publication in self.publications.values_mut() {
            publication.members.remove(&id);
        }
    }
}

impl Publication {
    pub(super) fn begun(incident: IncidentId, waits: bool) -> Publication {
        Publication {
            incident,
            members: [incident].into(),
            status: PublicStatus::Investigating,
            shows: ComponentStatus::Operational,
            waits,
            published_by: None,
        }
    }
}
