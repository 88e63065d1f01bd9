//! The model world as the driver and the courier touch it: slow, lying about nothing, losing answers.

use super::{
    model::{Broken, Call, Happening, Moment, Shared, locked},
    oracle,
};
use nightshift::{
    action::Boxed,
    decide::{
        state::DueLetter,
        work::{AskedAlert, Observe, ObserveWhat},
    },
    driver::world::{Sight, World},
    engine::Clock,
    model::{
        firing::{Firing, FiringAnswer},
        input::Gathered,
        letter::{External, Receiver, Slot, Told},
        observation::{DryRun, Edited, Facts, Holds, Outcome, Proposed, QueryReading, RuleReading, TargetReading},
        plan::{Effect, Plan, Proposal, Replicas},
        rung::{Collector, Rung},
        time::{Micros, Span},
        view::IncidentView,
    },
    notify::{Notifier, Transient},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The world as one process sees it: when that process is dead, nothing it does arrives anywhere.
#[derive(Clone)]
pub struct ModelWorld {
    pub shared: Shared,
    pub process: u64,
}

fn span_of(within: Duration) -> Span {
    Span(within.as_micros() as i64)
}

impl ModelWorld {
    /// Waits on the simulated clock. Never returns to a dead process.
    async fn wait(&self, span: Span) {
        if span > Span::ZERO {
            let clock = locked(&self.shared).clock.clone();
            clock.sleep_until(clock.now() + span).await;
        }
        if !locked(&self.shared).is_alive(self.process) {
            std::future::pending::<()>().await;
        }
    }

    /// How long a read takes, and whether it fails in the end.
    fn read_fate(&self, within: Duration) -> (Span, Option<&'static str>) {
        let mut model = locked(&self.shared);
        if model.is_calm {
            return (Span::ZERO, None);
        }
        let within = span_of(within);
        if model.is_broken(Broken::ApiDown) {
            let refuses = model.random.chance(50);
            return (if refuses { Span::ZERO } else { within }, Some("the API server does not answer"));
        }
        if model.is_broken(Broken::ApiSlow) {
            return (model.random.span(Span::seconds(1), within + Span::millis(-1)), None);
        }
        match model.random.below(40) {
            0 => (Span::ZERO, Some("the API server answers 500")),
            1..=3 => (model.random.span(Span::ZERO, Span::seconds(3)), None),
            _ => (Span::ZERO, None),
        }
    }

    fn look(&self, work: &Observe, now: Micros) -> Result<Sight, String> {
        let model = locked(&self.shared);
        let target = match &work.what {
            ObserveWhat::Fix => work.rung.target.key(),
            ObserveWhat::Undo { plan, .. } | ObserveWhat::Holds { plan } => plan.target.key(),
        };
        let object = model.objects.get(&target.0).ok_or("there is no such object")?;
        let facts = Facts {
            observed_at: now,
            uid: object.uid.clone(),
            generation: object.generation,
            replicas: Some(object.replicas),
            ready: object.ready,
            paused: object.paused,
            rollout: object.rolling_out.then(|| "pods are being replaced".to_owned()),
            owner: object.owner.clone(),
            is_itself: object.is_itself,
            members: None,
            disruption: None,
            edited: object.edited_at.map(|at| Edited { by: "kubectl-edit".to_owned(), at }),
            rolls_back: None,
            runs: None,
        };
        let make = |from: Value, to: Value, undo: Value, replicas: Option<Replicas>| {
            Proposed::Made(Box::new(Proposal {
                uid: facts.uid.clone(),
                generation: facts.generation,
                summary: format!("{from} → {to}"),
                from,
                to,
                undo,
                precondition: json!(facts.generation),
                effect: Effect {
                    touches: vec![if replicas.is_some() { "spec.replicas" } else { "spec.template" }.to_owned()],
                    destroys: replicas.is_none(),
                    replicas,
                    min_ready_after: None,
                    runs: None,
                },
                undo_summary: None,
            }))
        };
        let have = object.replicas;
        let (proposal, holds) = match &work.what {
            ObserveWhat::Fix if work.rung.action == "scale" => {
                let by = work.rung.with.get("replicas").and_then(Value::as_str).unwrap_or("+1");
                let by: i64 = by.parse().unwrap_or(1);
                let want = u32::try_from(i64::from(have) + by).unwrap_or(0);
                let replicas = Replicas { from: have, to: want };
                (make(json!(have), json!(want), json!(have), Some(replicas)), None)
            }
            ObserveWhat::Fix => (make(json!(object.restarted_at), json!(now.0), Value::Null, None), None),
            ObserveWhat::Undo { plan, baseline } => {
                let left = plan.proposal.to.as_u64().unwrap_or_default() as u32;
                let back = baseline.as_ref().unwrap_or(&plan.proposal.undo).as_u64().unwrap_or_default() as u32;
                let refuses = |why: String| Proposed::Refused { why };
                let proposal = if plan.action != "scale" {
                    refuses("a restart has no way back".to_owned())
                } else if object.uid != plan.proposal.uid || have != left {
                    refuses(format!("replicas are {have}, nightshift left {left}"))
                } else if back == have {
                    refuses("it is there already".to_owned())
                } else {
                    make(json!(have), json!(back), Value::Null, Some(Replicas { from: have, to: back }))
                };
                (proposal, None)
            }
            ObserveWhat::Holds { plan } => {
                let same = plan.proposal.uid == facts.uid && plan.proposal.generation == facts.generation;
                let difference = format!("generation {} → {}", plan.proposal.generation, facts.generation);
                (Proposed::NotMade, Some(if same { Holds::Yes } else { Holds::Changed { difference } }))
            }
        };
        Ok(Sight { facts, proposal, holds })
    }

    /// When the write arrives, and what its sender hears. None: it never arrives.
    fn write_fate(&self, within: Span) -> (Option<Span>, Span, Hears) {
        let mut model = locked(&self.shared);
        if model.is_calm {
            return (Some(Span::ZERO), Span::ZERO, Hears::TheAnswer);
        }
        if model.is_broken(Broken::ApiDown) {
            return if model.random.chance(50) {
                (None, Span::ZERO, Hears::Refused)
            } else {
                (None, within, Hears::Nothing)
            };
        }
        let soon = model.random.span(Span::ZERO, Span::millis(300));
        match model.random.below(20) {
            0 => (Some(soon), model.random.span(soon, within), Hears::Nothing),
            1 => (None, within, Hears::Nothing),
            2 => (None, soon, Hears::Refused),
            // Sent in time, taken after its sender gave up: as late as the slack allows.
            3 => {
                (Some(model.random.span(within + Span::seconds(-2), within + Span::seconds(4))), within, Hears::Nothing)
            }
            4 => (Some(model.random.span(soon, within + Span::millis(-10))), within, Hears::TheAnswer),
            5 if model.random.chance(30) => (Some(Span::ZERO), Span::ZERO, Hears::ItsOwnPanic),
            6..=9 => (Some(soon), soon, Hears::TheAnswer),
            _ => (Some(Span::ZERO), Span::ZERO, Hears::TheAnswer),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Hears {
    TheAnswer,
    Nothing,
    Refused,
    ItsOwnPanic,
}

impl World for ModelWorld {
    fn observe<'a>(&'a self, work: &'a Observe, now: Micros, within: Duration) -> Boxed<'a, Result<Sight, String>> {
        Box::pin(async move {
            locked(&self.shared).moment(Moment::Observing);
            let sight = self.look(work, now);
            let (lasts, problem) = self.read_fate(within);
            self.wait(lasts).await;
            match problem {
                Some(problem) => Err(problem.to_owned()),
                None => sight,
            }
        })
    }

    fn may_destroy(&self, rung: &Rung) -> bool {
        rung.action == "restart"
    }

    fn dry_run<'a>(&'a self, _: &'a Rung, _: &'a Proposal, within: Duration) -> Boxed<'a, Result<DryRun, String>> {
        Box::pin(async move {
            let (lasts, problem) = self.read_fate(within);
            self.wait(lasts).await;
            if let Some(problem) = problem {
                return Err(problem.to_owned());
            }
            let rejects = locked(&self.shared).random.chance(15);
            Ok(if rejects { DryRun::Rejected { why: "denied by a policy".to_owned() } } else { DryRun::Accepted })
        })
    }

    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], now: Micros, _: Duration) -> Boxed<'a, FiringAnswer> {
        Box::pin(async move {
            let (answer, lasts) = {
                let mut model = locked(&self.shared);
                if !model.spec.asks_alertmanager {
                    return FiringAnswer::NotAsked;
                }
                let slow = !model.is_calm && model.random.chance(8);
                let lasts = if slow { model.random.seconds(0, 4) } else { Span::ZERO };
                if model.is_broken(Broken::AlertmanagerDown) {
                    (FiringAnswer::Unreachable { problem: "no peer answers".to_owned() }, lasts)
                } else {
                    let empty = model.is_broken(Broken::AlertmanagerEmpty);
                    let unprocessed = !model.is_calm && model.random.chance(2);
                    let listed = alerts.iter().map(|asked| {
                        let signal =
                            model.signals.iter().find(|signal| signal.print() == asked.fingerprint.to_string());
                        let firing = match signal.and_then(|signal| signal.firing_since.map(|since| (signal, since))) {
                            None => Firing::Absent,
                            Some(_) if empty => Firing::Absent,
                            Some((signal, _)) if signal.silenced_until > now => {
                                Firing::Suppressed { by: vec!["a silence".to_owned()] }
                            }
                            Some(_) if unprocessed => Firing::Unprocessed,
                            Some((_, starts_at)) => Firing::Active { starts_at },
                        };
                        (asked.fingerprint.clone(), firing)
                    });
                    (FiringAnswer::Answered { at: now, alerts: listed.collect() }, lasts)
                }
            };
            self.wait(lasts).await;
            locked(&self.shared).moment(Moment::Asked);
            self.wait(Span::ZERO).await;
            answer
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let began_at = locked(&self.shared).now();
            let step = oracle::call_begins(&mut locked(&self.shared), plan, self.process);
            locked(&self.shared).moment(Moment::Calling);
            self.wait(Span::ZERO).await;
            let (lands, answers, hears) = self.write_fate(span_of(within));
            let call = {
                let mut model = locked(&self.shared);
                model.calls.push(Call { step, plan: plan.clone(), began_at, landed: None, landed_at: None });
                let call = model.calls.len() - 1;
                match lands {
                    Some(Span::ZERO) => model.lands(call),
                    Some(after) => model.later(after, Happening::Lands { call }),
                    None => {}
                }
                call
            };
            self.wait(answers).await;
            let landed = locked(&self.shared).calls[call].landed;
            let lost = || Outcome::Unknown { why: "the answer was lost".to_owned() };
            match (hears, landed) {
                (Hears::ItsOwnPanic, _) => panic!("simulated: an action panics after its write"),
                (Hears::Nothing, _) | (Hears::TheAnswer, None) => lost(),
                (Hears::Refused, _) => {
                    Outcome::NotApplied { why: "connection refused".to_owned(), changed_since: false }
                }
                (Hears::TheAnswer, Some(true)) => Outcome::Applied,
                (Hears::TheAnswer, Some(false)) => {
                    Outcome::NotApplied { why: "409: somebody changed it".to_owned(), changed_since: true }
                }
            }
        })
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            locked(&self.shared).moment(Moment::ReadingBack);
            let (lasts, problem) = self.read_fate(within);
            self.wait(lasts).await;
            if let Some(problem) = problem {
                return Outcome::Unknown { why: problem.to_owned() };
            }
            let model = locked(&self.shared);
            let Some(object) = model.objects.get(&plan.target.key().0) else {
                return Outcome::Unknown { why: "it is gone".to_owned() };
            };
            let value = if plan.action == "scale" { json!(object.replicas) } else { json!(object.restarted_at) };
            if object.uid != plan.proposal.uid {
                Outcome::Unknown { why: "another object has its name".to_owned() }
            } else if value == plan.proposal.to {
                Outcome::Applied
            } else if object.generation == plan.proposal.generation {
                Outcome::NotApplied { why: "it is as it was".to_owned(), changed_since: false }
            } else {
                Outcome::Unknown { why: "somebody changed it since".to_owned() }
            }
        })
    }

    fn target<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async move {
            locked(&self.shared).moment(Moment::Measuring);
            let (lasts, problem) = self.read_fate(within);
            self.wait(lasts).await;
            if let Some(problem) = problem {
                return TargetReading::Unread { problem: problem.to_owned() };
            }
            let model = locked(&self.shared);
            let Some(object) = model.objects.get(&plan.target.key().0) else {
                return TargetReading::Unread { problem: "it is gone".to_owned() };
            };
            if object.rolling_out || object.ready < before.ready.min(object.replicas) {
                TargetReading::NotYet { says: format!("{} ready", object.ready) }
            } else {
                TargetReading::Well { says: format!("{} ready", object.ready) }
            }
        })
    }

    fn rules<'a>(&'a self, names: &'a [String], _: Duration) -> Boxed<'a, RuleReading> {
        Box::pin(async move {
            let model = locked(&self.shared);
            if !model.spec.asks_prometheus || names.is_empty() {
                RuleReading::NotAsked
            } else if model.is_broken(Broken::PrometheusUnreachable) {
                RuleReading::Unread { problem: "Prometheus does not answer".to_owned() }
            } else if model.is_broken(Broken::PrometheusDead) {
                RuleReading::Evaluated { at: model.prometheus_last }
            } else {
                RuleReading::Evaluated { at: model.now() }
            }
        })
    }

    fn query<'a>(&'a self, _: &'a str, _: Duration) -> Boxed<'a, QueryReading> {
        Box::pin(std::future::ready(QueryReading::NotAsked))
    }

    fn gather<'a>(&'a self, _: &'a Collector, _: Micros, within: Duration) -> Boxed<'a, Result<Gathered, String>> {
        Box::pin(async move {
            let (lasts, problem) = self.read_fate(within);
            self.wait(lasts).await;
            match problem {
                Some(problem) => Err(problem.to_owned()),
                None => Ok(Gathered { digest: "00".to_owned(), bytes: 2, summary: "3 pods".to_owned() }),
            }
        })
    }
}

impl Notifier for ModelWorld {
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        _: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let Receiver::Slack { channel } = &letter.key.receiver;
            locked(&self.shared).moment(Moment::Sending);
            self.wait(Span::ZERO).await;
            let (down, limits, permanent) = {
                let mut model = locked(&self.shared);
                let calm = model.is_calm;
                (
                    model.is_broken(Broken::SlackDown),
                    model.is_broken(Broken::SlackLimits),
                    !calm && model.random.chance(1),
                )
            };
            if down {
                let lasts = if locked(&self.shared).random.chance(50) { span_of(within) } else { Span::ZERO };
                self.wait(lasts).await;
                return Err(Transient { reason: "unreachable", retry_after: None });
            }
            if limits {
                return Err(Transient { reason: "limited", retry_after: Some(Duration::from_secs(30)) });
            }
            if permanent {
                return Ok(Told::Failed { reason: "channel_not_found".to_owned() });
            }
            let mut model = locked(&self.shared);
            model.slack.sent += 1;
            let line = (channel.clone(), letter.key.incident.0);
            match letter.key.slot {
                Slot::Card => *model.slack.cards.entry(line).or_default() += 1,
                Slot::Post(number) => {
                    let last = model.slack.last_post.insert(line, number).unwrap_or(0);
                    if number < last {
                        model.breaks("I-30 letters in order", format!("post {number} came after {last}"));
                    }
                    model.slack.posts.insert(number);
                }
            }
            Ok(Told::Sent { external: Some(External { channel: channel.clone(), ts: "1".to_owned() }) })
        })
    }
}
