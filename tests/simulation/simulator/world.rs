//! The model world as the driver and the courier touch it: slow, lying about nothing, losing answers.

use super::{
    landing,
    model::{Broken, Call, Happening, Moment, Shared, locked},
    pagerduty,
    things::{NotSent, Without},
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
        letter::{External, Posted, Receiver, Slot, Told},
        observation::{DryRun, Facts, Holds, Outcome, Proposed, QueryReading, RuleReading, TargetReading},
        plan::{Plan, Proposal},
        rung::{Collector, Rung},
        target::Object,
        time::{Micros, Span},
        view::IncidentView,
    },
    notify::{Notifier, Transient},
};
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
    pub async fn wait(&self, span: Span) {
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
        let thing = model.things.get(&target.0).ok_or("there is no such object")?;
        let mut facts = thing.facts(now);
        let (proposal, holds) = match &work.what {
            ObserveWhat::Fix => (thing.propose(&work.rung, &mut facts, model.without), None),
            ObserveWhat::Undo { plan, baseline } => (thing.propose_undo(plan, baseline.as_ref(), &mut facts), None),
            ObserveWhat::Holds { plan } => {
                let holds = match thing.difference(plan, &mut facts, model.without) {
                    Some(difference) => Holds::Changed { difference },
                    None => Holds::Yes,
                };
                (Proposed::NotMade, Some(holds))
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
            3 if model.random.chance(50) => {
                // A proxy that has heard nothing yet sends it once more.
                (Some(soon), model.random.span(soon, within), Hears::TheAnswerTwice)
            }
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

impl ModelWorld {
    /// A proxy may hand on either answer. What a write was refused for since it looked may be its own doing.
    fn told_twice(&self, call: usize, plan: &Plan, first: Outcome) -> Outcome {
        let mut model = locked(&self.shared);
        let second = model.calls[call].again.clone();
        let thing = model.things.get(&plan.target.key().0);
        let is_done = thing.is_some_and(|thing| thing.read_back(plan) == Outcome::Applied);
        // An eviction of a pod that is going is taken once more.
        match second.filter(|_| is_done && plan.action != "delete_pod" && model.random.chance(50)) {
            None => first,
            Some(Outcome::NotApplied { why, changed_since: true })
                if model.without != Some(Without::RefusedButDone) =>
            {
                Outcome::Unknown { why }
            }
            Some(second) => second,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Hears {
    TheAnswer,
    TheAnswerTwice,
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
        !matches!(rung.action.as_str(), "scale" | "flip")
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
                model.asks += 1;
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
                        let print = asked.fingerprint.to_string();
                        let signal = model.signals.iter().find(|signal| signal.is(&print));
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

    fn peer_keys<'a>(&'a self, _: &'a str, _: Duration) -> Boxed<'a, Result<Vec<String>, String>> {
        Box::pin(std::future::ready(Err("there is no PagerDuty".to_owned())))
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let began_at = locked(&self.shared).now();
            let step = landing::call_begins(&mut locked(&self.shared), plan, self.process);
            locked(&self.shared).moment(Moment::Calling);
            self.wait(Span::ZERO).await;
            let (lands, answers, hears) = self.write_fate(span_of(within));
            let call = {
                let mut model = locked(&self.shared);
                let thing = model.things.get(&plan.target.key().0);
                let look = thing.map(|thing| (thing.last_look(plan, model.without), thing.version()));
                let (left_ready, version) = match look {
                    Some((Ok(left_ready), version)) => (left_ready, version),
                    Some((Err(NotSent { why, changed_since }), _)) => {
                        return Outcome::NotApplied { why, changed_since };
                    }
                    None => return Outcome::NotApplied { why: "it is gone".to_owned(), changed_since: false },
                };
                let plan = plan.clone();
                model.calls.push(Call {
                    step,
                    plan,
                    began_at,
                    left_ready,
                    version,
                    landed: None,
                    again: None,
                    took_effect: false,
                    ended: Vec::new(),
                });
                let call = model.calls.len() - 1;
                match lands {
                    Some(Span::ZERO) => model.lands(call),
                    Some(after) => model.later(after, Happening::Lands { call }),
                    None => {}
                }
                // Statements of a session are not sent again by anybody.
                let is_request = !matches!(model.calls[call].plan.target.object, Object::Database { .. });
                if hears == Hears::TheAnswerTwice && is_request {
                    let after = model.random.span(Span::ZERO, answers);
                    model.later(after, Happening::Lands { call });
                }
                call
            };
            self.wait(answers).await;
            let landed = locked(&self.shared).calls[call].landed.clone();
            let lost = || Outcome::Unknown { why: "the answer was lost".to_owned() };
            match (hears, landed) {
                (Hears::ItsOwnPanic, _) => panic!("simulated: an action panics after its write"),
                (Hears::Refused, _) => {
                    Outcome::NotApplied { why: "connection refused".to_owned(), changed_since: false }
                }
                (Hears::Nothing, _) | (_, None) => lost(),
                (Hears::TheAnswer, Some(answer)) => answer,
                (Hears::TheAnswerTwice, Some(answer)) => self.told_twice(call, plan, answer),
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
            match locked(&self.shared).things.get(&plan.target.key().0) {
                Some(thing) => thing.read_back(plan),
                None => Outcome::Unknown { why: "it is gone".to_owned() },
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
            let mut model = locked(&self.shared);
            let Some(thing) = model.things.get(&plan.target.key().0) else {
                return TargetReading::Unread { problem: "it is gone".to_owned() };
            };
            let (reading, broken) = (thing.reading(plan, before), thing.is_broken(plan));
            if broken {
                model.broke.insert(plan.hash.clone());
            }
            reading
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
            let channel = match &letter.key.receiver {
                Receiver::Slack { channel } => channel,
                Receiver::PagerDuty { .. } => return pagerduty::send(self, letter, within).await,
                _ => return Ok(Told::Sent { external: None }),
            };
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
                Slot::Card | Slot::Page(_) => *model.slack.cards.entry(line).or_default() += 1,
                Slot::Post(number) => {
                    let last = model.slack.last_post.insert(line, number).unwrap_or(0);
                    if number < last {
                        model.breaks("I-30 letters in order", format!("post {number} came after {last}"));
                    }
                    model.slack.posts.insert(number);
                }
                Slot::Update => {}
            }
            Ok(Told::Sent { external: Some(External::Posted(Posted { channel: channel.clone(), ts: "1".to_owned() })) })
        })
    }
}
