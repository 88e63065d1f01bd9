//! What is going to happen in a scenario: alerts, faults, third writers, people, all drawn before it begins. People also
//! answer what they are asked ([`people_react`]).

use super::{
    alerts::Signal,
    model::{Ambush, Broken, Happening, Model, Moment},
    policies,
    things::Foreign,
};
use nightshift::{
    journal::memory::Fault,
    model::{
        event::{Event, LadderEnd},
        id::{IncidentId, StepId},
        input::Command,
        time::Span,
    },
};

/// Fills the queue; gives how long it goes on before the world is calm.
pub fn draw(model: &mut Model) -> Span {
    let horizon = model.random.pick(&[Span::minutes(15), Span::minutes(30), Span::minutes(60), Span::hours(3)]);
    draw_alerts(model, horizon);
    let trouble = model.random.below(4);
    if trouble > 0 {
        draw_faults(model, horizon, trouble);
        draw_ambushes(model, trouble);
    }
    draw_storm(model, horizon);
    draw_others(model, horizon);
    draw_people(model, horizon);
    horizon
}

impl Model {
    fn anytime(&mut self, horizon: Span, what: Happening) {
        let after = self.random.span(Span::ZERO, horizon);
        self.later(after, what);
    }
}

fn draw_alerts(model: &mut Model, horizon: Span) {
    let rules = model.spec.rules.len() as u64;
    let count = 1 + model.random.below(3);
    for _ in 0..count {
        let rule = model.random.below(rules) as usize;
        let signal = Signal::new(rule, model.random.below(3));
        if model.signals.iter().any(|known| known.print() == signal.print()) {
            continue;
        }
        model.signals.push(signal);
        let signal = model.signals.len() - 1;
        let mut after = model.random.span(Span::ZERO, Span::minutes(3));
        for _ in 0..1 + model.random.below(3) {
            let same_start = model.random.chance(15);
            model.later(after, Happening::Fires { signal, same_start });
            let longest = model.random.pick(&[Span::seconds(50), Span::minutes(6), Span::minutes(30), horizon]);
            let lasts = model.random.span(Span::seconds(5), longest);
            model.later(after + lasts, Happening::Ends { signal });
            let quiet = model.random.pick(&[Span::seconds(40), Span::minutes(12)]);
            after = after + lasts + model.random.span(Span::seconds(1), quiet);
            if after > horizon {
                break;
            }
        }
        if model.random.chance(12) {
            let lasts = model.random.span(Span::minutes(1), Span::minutes(20));
            model.anytime(horizon, Happening::Silences { signal, lasts });
        }
    }
}

/// Now and then an alert of one rule fires for many members and pods at once.
fn draw_storm(model: &mut Model, horizon: Span) {
    if !model.random.chance(15) {
        return;
    }
    let rules = &model.spec.rules;
    let of_set = rules.iter().position(|rule| rule.remediate.iter().any(|rung| rung.target == policies::SET));
    let rule = of_set.unwrap_or(model.random.below(rules.len() as u64) as usize);
    let begins = model.random.span(Span::ZERO, horizon);
    let apart = model.random.pick(&[Span::seconds(2), Span::seconds(40), Span::minutes(4)]);
    // All of the set, or so many that the number counts.
    let members = model.things.keys().filter(|key| key.starts_with(&policies::key_of(policies::SET))).count() as u64;
    let many = if model.random.chance(50) { members } else { 3 + model.random.below(6) };
    for place in 0..many {
        let signal = match model.signals.iter().position(|known| known.rule == rule && known.place == place) {
            Some(known) => known,
            None => {
                model.signals.push(Signal::new(rule, place));
                model.signals.len() - 1
            }
        };
        let after = begins + model.random.span(Span::ZERO, apart);
        model.later(after, Happening::Fires { signal, same_start: false });
        let lasts = model.random.span(Span::seconds(20), Span::minutes(8));
        model.later(after + lasts, Happening::Ends { signal });
    }
}

/// Third writers: mostly of what the rules act on.
fn draw_others(model: &mut Model, horizon: Span) {
    let mut named: Vec<String> = model
        .spec
        .rules
        .iter()
        .flat_map(|rule| &rule.remediate)
        .map(|rung| match rung.target.as_str() {
            "front" => policies::SERVICE_KEY.to_owned(),
            "claims-db" => policies::DATABASE_KEY.to_owned(),
            policies::SET => policies::key_of(&policies::member(0)),
            name => policies::key_of(name),
        })
        .collect();
    named.extend(policies::WORKLOADS.map(policies::key_of));
    for _ in 0..model.random.below(4) {
        let place = model.random.below(named.len() as u64) as usize;
        let target = named[place].clone();
        let how = model.draw_foreign(&target);
        model.anytime(horizon, Happening::SomebodyWrites { target, how });
    }
    // Clients use their sessions all the time.
    if named.iter().any(|key| key == policies::DATABASE_KEY) {
        for _ in 0..model.random.below(8) {
            let (target, how) = (policies::DATABASE_KEY.to_owned(), Foreign::UsesSessions);
            model.anytime(horizon, Happening::SomebodyWrites { target, how });
        }
    }
}

fn draw_faults(model: &mut Model, horizon: Span, trouble: u64) {
    use Broken::{
        AlertmanagerCutOff, AlertmanagerDown, AlertmanagerEmpty, ApiDown, ApiSlow, JournalDown, PrometheusDead,
        PrometheusUnreachable, SlackDown, SlackLimits,
    };
    let all = [
        ApiDown,
        ApiSlow,
        AlertmanagerDown,
        AlertmanagerEmpty,
        AlertmanagerCutOff,
        PrometheusDead,
        PrometheusUnreachable,
        SlackDown,
        SlackLimits,
        JournalDown,
    ];
    for _ in 0..model.random.below(1 + 2 * trouble) {
        let what = model.random.pick(&all);
        let longest = model.random.pick(&[Span::seconds(20), Span::minutes(4), Span::minutes(30)]);
        let lasts = model.random.span(Span::seconds(1), longest);
        model.anytime(horizon, Happening::Breaks { what, lasts });
    }
    if !model.spec.asks_alertmanager && model.random.chance(40) {
        let after = model.random.span(Span::ZERO, Span::minutes(8));
        model.later(after, Happening::Breaks { what: AlertmanagerCutOff, lasts: Span::minutes(25) });
    }
    for _ in 0..model.random.below(trouble) {
        let what = match model.random.below(6) {
            0 | 1 => Happening::Crashes,
            2 => Happening::StopsCleanly,
            3 => Happening::CommitFails { fault: model.random.pick(&[Fault::BeforeCommit, Fault::AfterCommit]) },
            4 => {
                let by = model.random.pick(&[Span::seconds(5), Span::minutes(3), Span::hours(1), Span::hours(-1)]);
                Happening::ClockSteps { by }
            }
            _ => Happening::Reloads,
        };
        model.anytime(horizon, what);
    }
}

fn draw_ambushes(model: &mut Model, trouble: u64) {
    use Moment::{Asked, Calling, Landed, Measuring, Observing, ReadingBack, Sending, Started};
    for _ in 0..model.random.below(1 + trouble) {
        let moment = model.random.pick(&[
            Observing,
            Asked,
            Asked,
            Started,
            Started,
            Calling,
            Landed,
            Landed,
            ReadingBack,
            Measuring,
            Sending,
        ]);
        let ambush = match model.random.below(16) {
            0..=2 => Ambush::Dies,
            3 => Ambush::DiesBeforeNextCommit,
            4 | 5 => Ambush::DiesAfterNextCommit,
            6 => Ambush::CommitFails(model.random.pick(&[Fault::BeforeCommit, Fault::AfterCommit])),
            7 => Ambush::JournalGoesDown,
            8 | 9 => Ambush::Pauses,
            10 => Ambush::ClockSteps(model.random.pick(&[Span::seconds(25), Span::minutes(2), Span::hours(2)])),
            11 | 12 => Ambush::SomebodyWrites,
            13 => Ambush::Silences,
            14 => Ambush::ApiGoesDown,
            _ => Ambush::Reloads,
        };
        let countdown = 1 + model.random.below(3) as u32;
        model.ambushes.push((moment, countdown, ambush));
    }
}

fn draw_people(model: &mut Model, horizon: Span) {
    if model.random.chance(12) {
        let after = model.random.span(Span::ZERO, horizon);
        let command = Command::Pause { reason: "by hand".to_owned() };
        model.later(after, Happening::Asks { by: "ana".to_owned(), command });
        let lasts = model.random.span(Span::seconds(20), Span::minutes(20));
        let command = Command::Resume { pause_file_present: false };
        model.later(after + lasts, Happening::Asks { by: "ana".to_owned(), command });
    }
    if model.random.chance(10) {
        model.anytime(horizon, Happening::Reloads);
    }
    if model.random.chance(10) {
        let rule = format!("rule-{}", model.random.below(3));
        let command = Command::Rearm { rule, target: None };
        model.anytime(horizon, Happening::Asks { by: "ana".to_owned(), command });
    }
}

/// Somebody reads what nightshift says, and answers: at once, late, twice, wrongly, or not at all.
pub fn people_react(model: &mut Model, event: &Event) {
    if model.is_calm {
        return;
    }
    match event {
        Event::ApprovalAsked { step, plan, .. } => approver(model, *step, &plan.hash),
        Event::IncidentOpened { incident, .. } => somebody_has_it(model, *incident),
        Event::StepApplied { step, .. } if model.random.chance(14) => {
            let after = model.random.span(Span::seconds(1), Span::minutes(10));
            asks(model, after, Command::Undo { step: *step });
            if model.random.chance(30) {
                asks(model, after + Span::seconds(20), Command::Undo { step: *step });
            }
        }
        // Some are never let out.
        Event::StatusDue { joined: Some(incident), waits: true, .. } if model.random.chance(70) => {
            let after = model.random.span(Span::seconds(1), Span::minutes(8));
            asks(model, after, Command::Publish { incident: *incident });
            if model.random.chance(20) {
                asks(model, after, Command::Publish { incident: *incident });
            }
        }
        Event::StepUnknown { step, .. } => {
            let rule = model.ledger.incidents.get(&step.incident).map(|incident| incident.rule.clone());
            if let (Some(rule), true) = (rule, model.random.chance(40)) {
                let after = model.random.span(Span::seconds(20), Span::minutes(20));
                asks(model, after, Command::Rearm { rule, target: None });
            }
        }
        Event::StepHeld { step, .. } if model.random.chance(4) => {
            let after = model.random.span(Span::ZERO, Span::seconds(30));
            asks(model, after, Command::Reject { step: *step });
        }
        Event::LeaseBegan { step, .. } => match model.random.below(8) {
            0 => {
                let after = model.random.span(Span::seconds(5), Span::minutes(5));
                asks(model, after, Command::EndLease { step: *step });
            }
            1 => {
                let after = model.random.span(Span::seconds(5), Span::minutes(5));
                let by = model.random.pick(&[Span::minutes(10), Span::hours(24 * 30)]);
                asks(model, after, Command::ExtendLease { step: *step, by });
            }
            _ => {}
        },
        Event::LadderEnded { incident, how: LadderEnd::HandedOver { .. } | LadderEnd::Exhausted, .. }
            if model.random.chance(15) =>
        {
            let after = model.random.span(Span::seconds(20), Span::minutes(10));
            asks(model, after, Command::Resolve { incident: *incident });
        }
        _ => {}
    }
}

fn asks(model: &mut Model, after: Span, command: Command) {
    let by = model.random.pick(&["ana", "bob"]).to_owned();
    model.later(after, Happening::Asks { by, command });
}

fn approver(model: &mut Model, step: StepId, hash: &str) {
    let soon = model.random.span(Span::seconds(3), Span::minutes(3));
    let approve = |hash: &str| Command::Approve { step, plan_hash: hash.to_owned() };
    match model.random.below(12) {
        0..=4 => asks(model, soon, approve(hash)),
        5 => {
            asks(model, soon, approve("0000"));
            asks(model, soon + Span::seconds(5), approve(hash));
        }
        6 => {
            asks(model, soon, approve(hash));
            asks(model, soon, approve(hash));
        }
        // In the last second, so that any wait makes it too late.
        7 | 8 => {
            asks(model, Span::millis(1_799_500), approve(hash));
            model.later(Span::millis(1_799_499), Happening::Breaks { what: Broken::ApiSlow, lasts: Span::seconds(20) });
        }
        9 => {
            let target = model.ledger.steps.get(&step).map(|step| step.rung.target.key().0).unwrap_or_default();
            let how = model.draw_foreign(&target);
            model.later(soon + Span::seconds(-1), Happening::SomebodyWrites { target, how });
            asks(model, soon, approve(hash));
        }
        10 => asks(model, soon, Command::Reject { step }),
        _ => {}
    }
}

fn somebody_has_it(model: &mut Model, incident: IncidentId) {
    let after = model.random.span(Span::seconds(1), Span::minutes(4));
    match model.random.below(16) {
        0 | 1 => asks(model, after, Command::Acknowledge { incident }),
        2 => asks(model, after, Command::Resolve { incident }),
        _ => {}
    }
}
