//! `explain`: what would happen to a webhook's body, and why. Runs the real decision on an empty state, offline.
//!
//! What only the world can say (does it still fire, how the target stands) is not asked here: those guards are listed
//! as asked later. What the journal would add (cool-downs, limits, locks) is as for a nightshift that has seen nothing.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    app::{policy, world::Abilities},
    config::{Settings, process_variables},
    decide::{Policy, State, decide, guard::needs_observation},
    engine::{Clock, RealClock},
    http::{
        api::{read::tried, trace},
        limits::ALERTMANAGER_MAX_BODY,
    },
    model::{
        alert::Alert,
        event::Event,
        id::{IncidentId, StepId},
        input::Input,
        observation::Moment,
        rung::Rung,
        step::{Guard, GuardLine},
        time::Micros,
    },
    source::alertmanager::route::inputs,
    telemetry::text::plain,
};
use clap::Args;
use std::{
    fmt::Write,
    fs::File,
    io::{Read, stdin},
    path::PathBuf,
};

/// The first line: it must not look like news of what happens.
const DRY: &str = "a dry computation: nobody is asked, nothing is written or sent, and what a running nightshift remembers is not known here";
/// Why an offline observation says nothing.
const OFFLINE: &str = "explain asks nobody";
/// Timers waited for: `for` is the first of them.
const WAKES: usize = 4;

#[derive(Debug, Args)]
pub struct Explain {
    /// A file with a webhook's body; `-` reads standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Explain {
    pub fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let (settings, _) =
            Settings::load(self.config.config.as_deref(), process_variables()).map_err(Told::problems)?;
        let loaded = policy::load(&settings, &Abilities::unconnected(&settings)).map_err(Told::problems)?;
        let text = explained(&loaded.policy, &self.body()?, RealClock::default().now())?;
        output.text(&text)?;
        Ok(Exit::Fine)
    }

    fn body(&self) -> Result<Vec<u8>, Told> {
        let name = self.file.display().to_string();
        let source: Box<dyn Read> = if name == "-" {
            Box::new(stdin())
        } else {
            Box::new(File::open(&self.file).map_err(|error| Told::new(format!("reading {name}: {error}")))?)
        };
        let mut body = Vec::new();
        let most = ALERTMANAGER_MAX_BODY as u64 + 1;
        source.take(most).read_to_end(&mut body).map_err(|error| Told::new(format!("reading {name}: {error}")))?;
        if body.len() as u64 == most {
            return Err(Told::new(format!("{name} has more than {ALERTMANAGER_MAX_BODY} bytes: it would be refused")));
        }
        Ok(body)
    }
}

/// The whole explanation. `Err`: the body would be answered 400.
pub(super) fn explained(policy: &Policy, body: &[u8], now: Micros) -> Result<String, Told> {
    let refused = |error| Told::new(format!("it would be answered 400: {error}"));
    let alerts = inputs(body, "explain", now).map_err(refused)?;
    let mut state = State::default();
    let ours = |illegal: crate::decide::Illegal| Told::new(illegal.to_string());
    let replica = "explain".to_owned();
    let started =
        Input::Started { replica, version: String::new(), policy: policy.hash.clone(), clean: true, damage: None };
    decide(policy, &mut state, &started, now).map_err(ours)?;
    let mut text = format!("{DRY}\n");
    if alerts.is_empty() {
        text.push_str("no alerts: it would be answered 200, and nothing would happen\n");
    }
    for input in &alerts {
        let Input::Alert(alert) = input else { continue };
        text.push('\n');
        let _ = writeln!(text, "alert {}  {}", alert.fingerprint, plain(&name_of(alert)));
        if state.knows(policy, input) {
            text.push_str("  resolved, and never seen firing: nothing would happen\n");
            continue;
        }
        let events = decide(policy, &mut state, input, now).map_err(ours)?;
        let (tried, not_listed) = tried(policy, &alert.labels);
        indent(&mut text, &trace::classification(&tried, not_listed));
        let opened = events.iter().any(|event| matches!(event, Event::IncidentOpened { .. }));
        for event in &events {
            if opened && matches!(event, Event::AlertJoined { .. }) {
                continue;
            }
            tell(policy, &state, &mut text, event, now).map_err(ours)?;
        }
    }
    Ok(text)
}

fn name_of(alert: &Alert) -> String {
    alert.labels.get("alertname").cloned().unwrap_or_default()
}

fn indent(text: &mut String, more: &str) {
    for line in more.lines() {
        let _ = writeln!(text, "  {line}");
    }
}

fn tell(
    policy: &Policy,
    state: &State,
    text: &mut String,
    event: &Event,
    now: Micros,
) -> Result<(), crate::decide::Illegal> {
    match event {
        Event::AlertFired { rule: None, .. } => {
            text.push_str("  no rule matches: it would be journalled, and nobody told\n");
        }
        Event::IncidentOpened { incident, rule, key, severity, receiver, mentions, .. } => {
            let _ = writeln!(text, "  opens an incident {}", identity(*incident, rule, key));
            let _ = writeln!(text, "  severity {}", plain(severity));
            let told = receiver.as_ref().map_or("nobody".to_owned(), |receiver| plain(&receiver.to_string()));
            let _ = writeln!(text, "  tells {told}");
            if !mentions.is_empty() {
                let _ = writeln!(text, "  a page mentions {}", plain(&mentions.join(", ")));
            }
        }
        Event::AlertJoined { incident, .. } => {
            let _ = writeln!(text, "  joins incident {incident}");
        }
        Event::LadderBegan { rungs, fires_for, .. } => {
            let _ = writeln!(text, "  remediation, if it still fires after {fires_for}");
            for (number, rung) in (1..).zip(rungs) {
                let _ = writeln!(text, "    {number}. {}", rung_says(rung));
            }
        }
        Event::LadderEnded { how, .. } => {
            let _ = writeln!(text, "  no remediation: {}", ladder_end(policy, how));
        }
        Event::StepPlanned { step, .. } => {
            // Aside, so that looking ahead changes nothing for the alerts that follow.
            guards(policy, text, &first_judgement(policy, state.clone(), *step, now)?);
        }
        _ => {}
    }
    Ok(())
}

/// What the guards say once the step is looked at: at once, or when its `for` has passed.
fn first_judgement(
    policy: &Policy,
    mut state: State,
    step: StepId,
    now: Micros,
) -> Result<Vec<GuardLine>, crate::decide::Illegal> {
    let looked = Input::Observed { step, moment: Moment::ForPlan, result: Err(OFFLINE.to_owned()) };
    let mut at = now;
    for _ in 0..WAKES {
        for event in decide(policy, &mut state, &looked, at)? {
            if let Event::StepJudged { trace, .. } = event {
                return Ok(trace);
            }
        }
        let Some(due) = state.next_due() else { break };
        at = at.max(due);
        decide(policy, &mut state, &Input::Wake, at)?;
    }
    Ok(Vec::new())
}

fn identity(incident: IncidentId, rule: &str, key: &str) -> String {
    let pairs: Vec<(String, String)> = serde_json::from_str(key).unwrap_or_default();
    let by: Vec<String> = pairs.iter().map(|(label, value)| format!("{}={:?}", plain(label), plain(value))).collect();
    let by = if by.is_empty() { "one for all that the rule matches".to_owned() } else { by.join(" ") };
    format!("(here {incident}) of rule {}: {by}", plain(rule))
}

fn rung_says(rung: &Rung) -> String {
    let verify = &rung.verify;
    let wants = match rung.parameters() {
        none if none.is_empty() => none,
        some => format!(" ({})", plain(&some)),
    };
    format!(
        "{} on {}{wants}, mode {}; verified after {} within {}",
        plain(&rung.action),
        plain(&rung.target.key().0),
        rung.mode.word(),
        verify.settle,
        verify.resolved_within
    )
}

fn ladder_end(policy: &Policy, how: &crate::model::event::LadderEnd) -> String {
    use crate::model::event::LadderEnd;
    match how {
        LadderEnd::HandedOver { reason } => plain(&reason.says(&policy.zone)),
        LadderEnd::Helped
        | LadderEnd::NotNeeded
        | LadderEnd::WouldHave
        | LadderEnd::Exhausted
        | LadderEnd::Vetoed { .. } => plain(&how.says(&policy.zone)),
    }
}

/// The guards whose answer does not depend on the world, and the names of those that do.
fn guards(policy: &Policy, text: &mut String, trace: &[GuardLine]) {
    if trace.is_empty() {
        return;
    }
    let known: Vec<GuardLine> = trace.iter().filter(|line| !asks_the_world(line.guard)).cloned().collect();
    text.push_str("  guards of the first step that are known without asking anybody\n");
    for line in trace::guards(&known, &policy.zone).lines() {
        let _ = writeln!(text, "    {line}");
    }
    let later = Guard::ALL.into_iter().filter(|guard| asks_the_world(*guard));
    let names: Vec<String> = later.map(|guard| guard.word().replace('_', " ")).collect();
    let _ = writeln!(text, "  asked when it happens: {}", names.join(", "));
}

/// Its answer rests on an observation.
fn asks_the_world(guard: Guard) -> bool {
    guard == Guard::Observed || needs_observation(guard)
}
