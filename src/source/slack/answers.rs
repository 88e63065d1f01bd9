//! What is done about a click or a command, and what whoever asked is told. Over HTTP and Socket Mode alike.

use super::{
    asker::{Asker, asker, unproven, unproven_name},
    payload::{Click, From, PAUSE, Typed},
};
use crate::{
    decide::people::TAKEN,
    engine::{EngineHandle, Refused, Seen, pause_file_present},
    http::api::trace,
    model::{
        button::Button,
        id::IncidentId,
        input::{Command, Input, Via},
        letter::Posted,
    },
    peer::slack::{
        client::{Call, SlackClient},
        directory::Directory,
        escape,
        seal::Seal,
    },
    telemetry::text::plain,
};
use serde_json::{Value, json};
use std::{fmt::Write, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Asking Slack and the engine, and answering, takes no longer.
const WITHIN: Duration = Duration::from_secs(10);
/// One message's text: Slack refuses all blocks together beyond some 13,000 characters.
const LONGEST_ANSWER_CHARS: usize = 8000;
/// Who asks for a pause is looked up for so long; then it is done all the same.
const PAUSE_WITHIN: Duration = Duration::from_millis(700);
const INCIDENTS_LISTED: usize = 15;

const HELP: &str = "/nightshift status - what it is doing, and whether it may act\n\
                    /nightshift incidents - the open ones\n\
                    /nightshift why ID - what was decided about an incident, and why\n\
                    /nightshift ack ID - take an incident\n\
                    /nightshift pause REASON - nothing acts any more, at once\n\
                    /nightshift resume - acting goes on (approvers)\n\
                    /nightshift help - this";

/// Takes what people ask for in Slack.
#[derive(Clone)]
pub struct Answers {
    pub engine: EngineHandle,
    pub directory: Arc<Directory>,
    pub client: Arc<SlackClient>,
    pub seal: Seal,
    /// While it is there a resume is refused.
    pub pause_file: Option<PathBuf>,
}

/// What the engine is asked of a button before anything else.
struct Place {
    card: Option<Posted>,
    is_known: bool,
    approvers: Vec<String>,
}

impl Answers {
    /// A button was pressed. What whoever pressed it is to be told: what is not plain from the message.
    pub async fn click(&self, click: &Click, once: &str) -> Option<String> {
        match self.clicked(click, once, Instant::now() + WITHIN).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::info!(user = plain(&click.from.user), why, "a click in Slack was refused");
                Some(why)
            }
        }
    }

    /// Tells whoever pressed a button, and nobody else.
    pub async fn tell(&self, click: &Click, answer: Option<String>) {
        let Some(answer) = answer else { return };
        let deadline = Instant::now() + WITHIN;
        let body = json!({
            "channel": click.channel, "user": click.from.user, "thread_ts": click.message,
            "text": fallback(&answer), "blocks": blocks(&answer),
        });
        if let Err(failure) = self.client.write(Call::Ephemeral, &click.channel, &body, deadline).await {
            tracing::debug!(?failure, "whoever clicked could not be told");
        }
    }

    /// What to tell, if anything; `Err`: it was refused, and why.
    async fn clicked(&self, click: &Click, once: &str, deadline: Instant) -> Result<Option<String>, String> {
        let Some(button) = self.seal.open(&click.value) else {
            let why = "this button is not nightshift's, or was sealed with another secret: look at a newer message";
            return Err(self.turned_away(&click.from, "a button", why).await);
        };
        let incident = button.incident();
        let place = self.place_of(incident).await?;
        if !place.is_known {
            return Err(format!("incident {incident} is over and forgotten: its story is in the journal"));
        }
        let is_its_card = place.card.is_some_and(|card| card.channel == click.channel && card.ts == click.message);
        if !is_its_card {
            let why = "this button stands under a message that is not the incident's";
            return Err(self.turned_away(&click.from, button.word(), why).await);
        }
        let listed = if needs_approver(&button) { place.approvers } else { Vec::new() };
        let asker = self.who(&click.from, &listed, once, button.word(), deadline).await?;
        let command = match button {
            Button::Why { incident } => return self.why(incident).await.map(Some),
            Button::Acknowledge { incident } => Command::Acknowledge { incident },
            Button::Approve { step, plan_hash } => Command::Approve { step, plan_hash },
            Button::Reject { step } => Command::Reject { step },
            Button::Undo { step } => Command::Undo { step },
            Button::Publish { incident } => Command::Publish { incident },
        };
        self.command(&asker, command).await.map(|()| None)
    }

    /// `/nightshift …`: the answer, which only whoever typed it sees.
    pub async fn typed(&self, typed: &Typed, once: &str) -> Value {
        let answer = match self.asked(typed, once).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::info!(user = plain(&typed.from.user), why, "a command in Slack was refused");
                why
            }
        };
        json!({"response_type": "ephemeral", "text": fallback(&answer), "blocks": blocks(&answer)})
    }

    async fn asked(&self, typed: &Typed, once: &str) -> Result<String, String> {
        let (word, rest) = typed.words();
        // Stopping waits for nobody.
        let within = if word == PAUSE { PAUSE_WITHIN } else { WITHIN };
        let deadline = Instant::now() + within;
        let listed = if word == "resume" { self.approvers_of_the_worst().await? } else { Vec::new() };
        let asker = self.who(&typed.from, &listed, once, &word, deadline).await?;
        let incident = || rest.parse::<IncidentId>().map_err(|_| format!("{word} takes an incident's number: {HELP}"));
        match word.as_str() {
            "status" => self.status().await,
            "incidents" => self.incidents().await,
            "why" => self.why(incident()?).await,
            "ack" => {
                let incident = incident()?;
                self.command(&asker, Command::Acknowledge { incident }).await?;
                Ok(format!("You have incident {incident}."))
            }
            PAUSE => {
                self.command(&asker, Command::Pause { reason: plain(rest) }).await?;
                Ok("Paused: nothing acts any more. To go on: /nightshift resume".to_owned())
            }
            "resume" => {
                let pause_file_present = pause_file_present(self.pause_file.as_deref()).await;
                self.command(&asker, Command::Resume { pause_file_present }).await?;
                Ok("Acting goes on.".to_owned())
            }
            "" | "help" => Ok(HELP.to_owned()),
            _ => Ok(format!("There is no such command.\n{HELP}")),
        }
    }

    async fn who(
        &self,
        from: &From,
        listed: &[String],
        once: &str,
        asked: &str,
        deadline: Instant,
    ) -> Result<Asker, String> {
        match asker(&self.directory, self.engine.clock(), from, listed, once, deadline).await {
            Ok(asker) => Ok(asker),
            // Slack has signed it, and stopping harms nobody: it must not wait for Slack's directory.
            Err(nobody) if nobody.in_doubt && asked == PAUSE => Ok(unproven(from, self.engine.clock().now(), once)),
            Err(nobody) => Err(self.turned_away(from, asked, &nobody.why).await),
        }
    }

    /// Journals that somebody was not heard; gives back why.
    async fn turned_away(&self, from: &From, asked: &str, why: &str) -> String {
        let by = unproven_name(&from.user);
        let command = Command::NotHeard { asked: asked.to_owned(), why: why.to_owned() };
        if let Err(refused) = self.engine.command(Input::Command { by, via: Via::Api, command }).await {
            tracing::warn!(%refused, why, "somebody in Slack was not heard, and it is not journalled");
        }
        why.to_owned()
    }

    /// One input, answered after its commit; `Err`: the engine's own words.
    async fn command(&self, asker: &Asker, command: Command) -> Result<(), String> {
        let via = Via::Slack(Box::new(asker.person.clone()));
        let is_pause = matches!(command, Command::Pause { .. });
        // A pause is in force before it is decided: one that was taken already must not be put in force by a replay, for
        // nobody would know of it.
        let taken = asker.person.once.clone();
        if is_pause && self.read(move |seen| seen.state.has_taken(&taken)).await.unwrap_or(false) {
            return Err(TAKEN.to_owned());
        }
        let input = Input::Command { by: asker.name.clone(), via, command };
        let answer = match self.engine.command(input).await {
            Ok(answer) => answer,
            Err(refused) if is_pause => {
                return Err(format!("nothing acts from now on, but the pause is not journalled: {refused}"));
            }
            Err(refused) => return Err(not_now(&refused)),
        };
        answer.refusal().map_or(Ok(()), |why| Err(why.to_owned()))
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Seen<'_>) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.engine.read(question).await.map_err(|refused| not_now(&refused))
    }

    async fn place_of(&self, incident: IncidentId) -> Result<Place, String> {
        self.read(move |seen| {
            let view = seen.state.incident_view(seen.policy, incident, seen.now);
            let severity = view.as_ref().map(|view| view.severity.clone()).unwrap_or_default();
            Place {
                is_known: view.is_some(),
                card: view.and_then(|view| view.posted),
                approvers: seen.policy.spec.approvers.get(&severity).cloned().unwrap_or_default(),
            }
        })
        .await
    }

    async fn approvers_of_the_worst(&self) -> Result<Vec<String>, String> {
        self.read(|seen| {
            let spec = &seen.policy.spec;
            let worst = spec.severities.first().and_then(|worst| spec.approvers.get(&worst.name));
            worst.cloned().unwrap_or_default()
        })
        .await
    }

    async fn why(&self, incident: IncidentId) -> Result<String, String> {
        let text = self
            .read(move |seen| {
                let view = seen.state.incident_view(seen.policy, incident, seen.now)?;
                Some(trace::incident(&view, &seen.policy.zone, true))
            })
            .await?;
        text.ok_or_else(|| format!("there is no incident {incident}"))
    }

    async fn incidents(&self) -> Result<String, String> {
        self.read(|seen| {
            let views = seen.state.incident_ids().into_iter();
            let open: Vec<_> = views
                .filter_map(|id| seen.state.incident_view(seen.policy, id, seen.now))
                .filter(|view| view.state != "resolved")
                .collect();
            let mut text = String::new();
            for view in open.iter().take(INCIDENTS_LISTED) {
                let with = view.acknowledged_by.as_ref().map(|by| format!(", with {}", plain(by))).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{} {} {}{with}: {}\n    {}",
                    view.id,
                    plain(&view.severity),
                    view.state,
                    plain(&view.title),
                    plain(&view.ladder)
                );
            }
            match open.len() {
                0 => "No incident is open.".to_owned(),
                all if all > INCIDENTS_LISTED => format!("{text}and {} more", all - INCIDENTS_LISTED),
                _ => text,
            }
        })
        .await
    }

    async fn status(&self) -> Result<String, String> {
        let paused = self.engine.pause_flag().is_set();
        self.read(move |seen| {
            let counts = seen.state.counts();
            let open: u64 =
                counts.incidents.iter().filter(|((_, state), _)| *state != "resolved").map(|(_, n)| n).sum();
            let acts = match seen.state.paused() {
                Some(pause) => {
                    let since = pause.since.in_zone(&seen.policy.zone);
                    format!("Paused by {} since {since}: {}", plain(&pause.by), plain(&pause.reason))
                }
                None if paused => "Paused: the pause is not journalled yet".to_owned(),
                None => match seen.state.settling_until().filter(|until| *until > seen.now) {
                    Some(until) => format!("Settling: nothing acts until {}", until.in_zone(&seen.policy.zone)),
                    None => format!("Mode {}", seen.policy.spec.mode.word()),
                },
            };
            format!(
                "{acts}\nOpen incidents: {open}\nSteps: {} acting, {} waiting for an approval, {} held\n\
                 Leases: {}, disarmed: {}, brakes on: {}",
                counts.acting,
                counts.asking,
                counts.holding,
                counts.leases,
                counts.disarmed,
                counts.braked.len()
            )
        })
        .await
    }
}

fn needs_approver(button: &Button) -> bool {
    match button {
        Button::Approve { .. } | Button::Reject { .. } | Button::Undo { .. } => true,
        Button::Acknowledge { .. } | Button::Publish { .. } | Button::Why { .. } => false,
    }
}

fn not_now(refused: &Refused) -> String {
    format!("nightshift cannot take it now ({refused}): try again")
}

/// Anybody's words may be in it: shown as they are, in a block where Slack reads no markup.
pub(crate) fn blocks(answer: &str) -> Value {
    json!([{"type": "rich_text", "elements": [
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": cut(answer)}]}
    ]}])
}

/// For notifications: the first line.
pub(crate) fn fallback(answer: &str) -> String {
    let first = answer.lines().find(|line| !line.trim().is_empty()).unwrap_or("-");
    escape(first)
}

/// Whole lines, as many as fit.
fn cut(answer: &str) -> String {
    let mut shown = String::new();
    for line in answer.lines() {
        if shown.chars().count() + line.chars().count() + 1 > LONGEST_ANSWER_CHARS {
            shown.push_str("… the rest: nightshift why");
            break;
        }
        shown.push_str(line);
        shown.push('\n');
    }
    let shown = shown.trim_end();
    if shown.is_empty() { "-".to_owned() } else { shown.to_owned() }
}
