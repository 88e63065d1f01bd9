//! The brake: with so many targets alerting at once, acting on each of them could make it worse.

use super::{Case, DOUBT_WAITS, Says};
use crate::{
    decide::brake::set_of,
    model::{reason::Reason, step::Verdict},
};

pub fn guard(case: &Case) -> Says {
    let limit = "the brake is off";
    let Some((set, on)) = case.state.fleet.on_for(set_of(&case.step.rung.target)) else {
        return Says::allow("off", limit);
    };
    let reason = Reason::Braked { by: on.incident, set: set.map(str::to_owned), targets: on.targets };
    let value = format!("on: {} targets alert", on.targets);
    // What puts something back waits for it.
    let [.., wait] = DOUBT_WAITS;
    let verdict =
        if case.is_fix() { Verdict::Deny { reason } } else { Verdict::Hold { until: Some(case.now + wait), reason } };
    Says::verdict(value, limit, verdict)
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::{
        decide::policy::Brake, decide::policy::Choice, decide::policy::TargetSpec, decide::stories::harness::Story,
        decide::stories::harness::rule, model::alert::Status, model::input::Input, model::target::Kind,
        model::target::Object,
    };
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_stops_what_is_in_its_scope_and_nothing_else(
            all in any::<bool>(), ours in any::<bool>(), others in any::<bool>(), in_a_set in any::<bool>(),
            purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            let on = [(all, None, 50), (ours, Some("web"), 51), (others, Some("api"), 52)];
            for (is_on, set, id) in on {
                if is_on {
                    scene.state.fleet.brake(set.map(str::to_owned), IncidentId(id), 7);
                }
            }
            if in_a_set && let Object::Workload { selector, .. } = &mut scene.step().rung.target.object {
                *selector = Some("managed=true".into());
            }
            scene.step().purpose = purpose.clone();
            let by = match (all, ours && in_a_set) {
                (true, _) => Some((None, 50)),
                (false, true) => Some((Some("web".to_owned()), 51)),
                (false, false) => None,
            };
            let wanted = match by {
                None => Verdict::Allow,
                Some((set, id)) => {
                    let reason = Reason::Braked { by: IncidentId(id), set, targets: 7 };
                    if purpose.is_fix() { deny(reason) } else { hold(Some(scene.now + Span::seconds(60)), reason) }
                }
            };
            prop_assert_eq!(scene.says(Guard::Brake), wanted);
        }
    }

    /// How far apart the alerts come, which target each is of.
    fn storms() -> impl Strategy<Value = Vec<(Span, usize)>> {
        prop::collection::vec((grid(Span::seconds(45), 4), 0..6_usize), 1..14)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..cases() })]

        #[test]
        fn it_trips_with_one_target_too_many_within_its_time_and_not_before(storm in storms(), all in 1..4_u32) {
            let brake = Brake {
                share_percent: 100, at_least: 99, all, within: Span::minutes(3), cooldown: Span::minutes(15),
            };
            let mut story = Story::with(|spec| {
                spec.brake = Some(brake);
                spec.targets.clear();
                spec.rules.clear();
                for number in 0..6 {
                    let name = format!("t{number}");
                    let object = Object::Workload {
                        namespace: "production".into(), kind: Kind::Deployment, name: name.clone(), selector: None,
                    };
                    spec.targets.insert(name.clone(), TargetSpec { choice: Choice::One { object }, bounds: None });
                    spec.rules.push(rule(&name, &name.to_uppercase(), &[&name]));
                }
            });
            // The last alarm of each target: an alert that fires on is no second one.
            let mut alarms = std::collections::BTreeMap::new();
            let mut wanted = false;
            for (gap, target) in storm {
                // Only what comes counts here: no time for what is waited for.
                story.now = story.now + gap;
                let is_new = !alarms.contains_key(&target);
                let alert = story.alert(&format!("T{target}"), "p1", Status::Firing, story.now);
                if is_new {
                    story.input(Input::Alert(Box::new(alert)));
                    alarms.insert(target, story.now);
                }
                let lately = alarms.values().filter(|at| **at + brake.within > story.now).count();
                wanted |= is_new && lately > all as usize;
                prop_assert_eq!(story.state.brakes_all(), wanted, "{} of {} lately", lately, all);
            }
        }
    }
}
