//! Statuspage: one incident per component of the page, moved along in place.
//!
//! What is sent are the owner's sentences, ids and words of closed lists: not one byte of an alert, a label or a rule.
//! [`steps`] says what to do about what is there; [`crate::peer::statuspage`] calls.
//!
//! **A lost answer.** Statuspage has no idempotency key. So the page is looked at before anything is written: an incident
//! that is not known yet is looked for among the unresolved ones by its metadata, whether an earlier try is in doubt or the
//! process was killed before the answer was journalled; and one that is known is read before it is changed, so that nothing
//! is said twice.
//!
//! **People.** Who changed the incident or the component by hand is not overruled: it is left alone, and the thread says so.

pub mod steps;

use super::{Notifier, Transient};
use crate::{
    action::Boxed,
    decide::state::DueLetter,
    model::{
        letter::{External, Published, Receiver, Slot, Told},
        view::IncidentView,
    },
    peer::statuspage::{
        client::{Failure, StatuspageClient},
        shapes::{Key, Seen},
    },
    telemetry::{amiss::Amiss, text::plain},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use steps::{Desired, Step};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

/// Three calls, a second apart, and their answers.
const CALLS_TAKE: Duration = Duration::from_secs(5);

/// A look at what there is: of a page that does not answer it takes no letter's time.
const ASK_TAKES: Duration = Duration::from_secs(3);

/// Until somebody has set it right, letters wait, and are tried again so often.
const SET_RIGHT: Duration = Duration::from_secs(30);

pub struct Statuspage {
    client: Arc<StatuspageClient>,
    /// From the settings' name of a component to the service's id.
    components: BTreeMap<String, String>,
    /// Whether the service mails its subscribers when something begins and ends.
    notifies: bool,
    /// Who shows what somebody must set right.
    amiss: Option<Amiss>,
    /// One letter at a time: of many at once, each would get some of its calls in before its time is over, and none all.
    line: Mutex<()>,
}

impl Notifier for Statuspage {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            match self.bring(letter, view, deadline).await {
                Ok(published) => {
                    self.stands(&letter.key.receiver, None);
                    Ok(Told::Sent { external: published.map(External::Published) })
                }
                Err(Failure::Permanent { reason, said }) if is_set_up_wrong(reason, letter) => {
                    self.stands(&letter.key.receiver, Some((reason, said.as_deref())));
                    Err(Transient { reason, retry_after: Some(SET_RIGHT) })
                }
                Err(Failure::Permanent { reason, said: None }) => Ok(Told::Failed { reason: reason.to_owned() }),
                Err(Failure::Permanent { reason, said: Some(said) }) => {
                    Ok(Told::Failed { reason: format!("{reason}: {}", plain(&said)) })
                }
                Err(Failure::Transient { reason, retry_after }) => Err(Transient { reason, retry_after }),
            }
        })
    }
}

impl Statuspage {
    #[must_use]
    pub fn new(client: Arc<StatuspageClient>, components: BTreeMap<String, String>, notifies: bool) -> Statuspage {
        Statuspage { client, components, notifies, amiss: None, line: Mutex::new(()) }
    }

    /// Who shows what somebody must set right.
    #[must_use]
    pub fn watched_by(self, watcher: impl Fn(Vec<String>) + Send + Sync + 'static) -> Statuspage {
        Statuspage { amiss: Some(Amiss::new(watcher)), ..self }
    }

    /// What a refusal, or that something was taken, says of the key and the page, and of the component.
    fn stands(&self, receiver: &Receiver, refused: Option<(&str, Option<&str>)>) {
        let (Some(amiss), Receiver::Statuspage { component }) = (&self.amiss, receiver) else { return };
        match refused {
            None => {
                amiss.set(KEY, None);
                amiss.set(&of(component), None);
            }
            Some(("not_authorized", said)) => amiss.set(KEY, Some(key_line(said))),
            Some((_, said)) => {
                amiss.set(KEY, None);
                amiss.set(&of(component), Some(component_line(component, said)));
            }
        }
    }

    /// Asks, without changing anything, whether the key, the page and the components are what the settings say. `false`: not
    /// all is well, or nobody answered.
    pub async fn ask(&self, deadline: Instant) -> bool {
        let Some(amiss) = &self.amiss else { return true };
        // A letter goes first, and says the same.
        if self.line.try_lock().is_err() {
            return false;
        }
        let deadline = deadline.min(Instant::now() + ASK_TAKES);
        let known = match self.client.components(deadline).await {
            Ok(known) => known,
            Err(Failure::Permanent { reason: "not_authorized", said }) => {
                amiss.set(KEY, Some(key_line(said.as_deref())));
                return false;
            }
            Err(Failure::Permanent { reason: "not_found", said }) => {
                amiss.set(KEY, Some(page_line(said.as_deref())));
                return false;
            }
            // It is not there: that is no word about the key, and letters say it too.
            Err(failure) => {
                tracing::debug!(?failure, "Statuspage was not asked about its key");
                return false;
            }
        };
        amiss.set(KEY, None);
        let Some(known) = known else { return true };
        let mut all = true;
        for (component, id) in &self.components {
            let is_there = known.contains(id);
            all &= is_there;
            amiss.set(&of(component), (!is_there).then(|| component_line(component, None)));
        }
        all
    }

    /// Makes the page show what it should. None: it is over, and customers never read of it.
    async fn bring(
        &self,
        letter: &DueLetter,
        view: &IncidentView,
        deadline: Instant,
    ) -> Result<Option<Published>, Failure> {
        let ours_to_blame = |reason| Failure::Permanent { reason, said: None };
        let (Receiver::Statuspage { component }, Slot::Card) = (&letter.key.receiver, letter.key.slot) else {
            return Err(ours_to_blame("not_for_statuspage"));
        };
        let Some(id) = self.components.get(component) else { return Err(ours_to_blame("no_such_component")) };
        let Some(desired) = view.public.as_ref().and_then(|public| Desired::of(public, id, self.notifies)) else {
            return Err(ours_to_blame("no_sentences"));
        };
        let last = letter.external.as_ref().and_then(External::published);
        if let Some(last) = last.filter(|last| steps::next(&desired, Some(last)).is_none()) {
            return Ok(Some(last.clone()));
        }
        let latest = deadline.checked_sub(CALLS_TAKE).unwrap_or(deadline);
        let Ok(_turn) = timeout_at(latest, self.line.lock()).await else {
            return Err(Failure::Transient { reason: "paced", retry_after: Some(CALLS_TAKE) });
        };
        let key = Key { incident: letter.key.incident, opened_at: view.opened_at };
        let is_ours = |seen: &Seen| seen.ours.as_ref().is_some_and(|ours| ours.key == key);
        let there = match last {
            Some(last) => {
                let there = self.client.incident(&last.status_incident, deadline).await?;
                Some(steps::remembered(there, &key, last))
            }
            None => self.client.find_unresolved(is_ours, deadline).await?,
        };
        let is = if steps::asks_for_component(&desired, there.as_ref()) {
            self.client.component(id, deadline).await?
        } else {
            None
        };
        let (step, left_alone) = steps::step(&desired, &key, there.as_ref(), is);
        let (status_incident, leaves) = match &step {
            Step::Nothing => return Ok(None),
            Step::Open(write) => (self.client.open(&write.body(), deadline).await?, &write.leaves),
            Step::Update { incident, write } => {
                self.client.update(incident, &write.body(), deadline).await?;
                (incident.clone(), &write.leaves)
            }
            Step::Keep { incident, is } => (incident.clone(), is),
        };
        let (status, component) = (leaves.status, leaves.component);
        Ok(Some(Published { status_incident, status, component, left_alone }))
    }
}

/// The key, the page or the component: nothing is wrong with what was sent. An incident that is known and gone was taken away
/// by people.
fn is_set_up_wrong(reason: &str, letter: &DueLetter) -> bool {
    reason == "not_authorized" || reason == "not_found" && letter.external.is_none()
}

/// What [`Amiss`] has of the key and the page, for one cannot be told from the other.
const KEY: &str = "Statuspage's key";

fn of(component: &str) -> String {
    format!("Statuspage's component {}", plain(component))
}

fn in_brackets(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!(" ({})", plain(said)))
}

fn key_line(said: Option<&str>) -> String {
    let said = in_brackets(said);
    format!(
        "Statuspage refuses the API key{said}: what customers are to read waits. Put a valid one into \
         statuspage.api_key_file, and reload"
    )
}

fn page_line(said: Option<&str>) -> String {
    let said = in_brackets(said);
    format!(
        "Statuspage knows no such page{said}: what customers are to read waits. Set statuspage.page right, and restart"
    )
}

fn component_line(component: &str, said: Option<&str>) -> String {
    let (component, said) = (plain(component), in_brackets(said));
    format!(
        "Statuspage knows no such page or component{said}: what customers are to read of {component} waits. Set statuspage.page \
         and statuspage.components.{component}.id right, and restart"
    )
}
