//! A freeze: nothing new acts in it, whatever the mode. What puts something back does.

use super::{Case, Says};
use crate::model::{reason::Reason, time::Micros};

pub fn guard(case: &Case) -> Says {
    let severity = &case.incident.severity;
    let limit = "no freeze";
    let holding = case.policy.spec.freezes.iter().filter(|freeze| !freeze.except.contains(severity));
    let until = holding.filter_map(|freeze| Some((freeze.holds_until(case.now, &case.policy.zone)?, freeze)));
    let longest: Option<(Micros, _)> = until.max_by_key(|(until, _)| *until);
    match longest {
        Some((until, freeze)) => {
            let reason = Reason::Frozen { name: freeze.name.clone(), until };
            Says::deny(format!("{} until {}", freeze.name, until.in_zone(&case.policy.zone)), limit, reason)
        }
        None => Says::allow("none", limit),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::{decide::Policy, model::freeze::Freeze, model::freeze::Weekly, model::freeze::Window};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_holds_within_its_dates_but_for_who_is_excepted(
            freezes in prop::collection::vec((0..10_i64, 0..10_i64, any::<bool>()), 0..4), passed in around(Span::hours(1), 12),
        ) {
            let mut scene = Scene::clear();
            let begin = scene.now;
            scene.now = begin + passed;
            let (now, severity) = (scene.now, scene.incident().severity.clone());
            let made = |(number, (from, lasts, excepts)): (usize, &(i64, i64, bool))| Freeze {
                name: format!("freeze {number}"),
                window: Window::Dates { from: begin + Span::hours(*from), to: begin + Span::hours(from + lasts) },
                except: if *excepts { vec![severity.clone()] } else { vec!["P9".into()] },
            };
            let all: Vec<Freeze> = freezes.iter().enumerate().map(made).collect();
            scene.rules(|spec| spec.freezes = all);
            let ends = freezes.iter().filter(|(from, lasts, excepts)| {
                !excepts && begin + Span::hours(*from) <= now && now < begin + Span::hours(from + lasts)
            });
            let latest = ends.map(|(from, lasts, _)| begin + Span::hours(from + lasts)).max();
            match (scene.says(Guard::Freeze), latest) {
                (Verdict::Allow, None) => {}
                (Verdict::Deny { reason: Reason::Frozen { until, .. } }, Some(latest)) => prop_assert_eq!(until, latest),
                (says, latest) => prop_assert!(false, "{:?}, wanted until {:?}", says, latest),
            }
        }

        #[test]
        fn weekly_hours_are_those_of_the_zone(
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
            from in weekly(), to in weekly(), at in 0..(53 * 7 * 24 * 4_i64),
        ) {
            let mut scene = Scene::clear();
            let window = Window::Weekly { from, to };
            scene.rules(|spec| {
                spec.timezone = zone.into();
                spec.freezes = vec![Freeze { name: "hours".into(), window, except: Vec::new() }];
            });
            scene.now = scene.now + Span::minutes(at * 15);
            // An hour that comes twice, or never, is told by `a_weekend_is_one_in_the_policys_zone_and_knows_daylight_saving`.
            prop_assume!(is_ordinary(&scene.policy, scene.now));
            let here = minute_of_week(&scene.policy, scene.now);
            let (from, to) = (minutes(from), minutes(to));
            let holds = if from <= to { from <= here && here < to } else { from <= here || here < to };
            let says = scene.says(Guard::Freeze);
            prop_assert_eq!(says != Verdict::Allow, holds, "{:?} at minute {} of {}..{}", says, here, from, to);
        }
    }

    fn weekly() -> impl Strategy<Value = Weekly> {
        (1..=7_i8, 0..96_i16).prop_map(|(day, quarter)| Weekly { day, minute: quarter * 15 })
    }

    fn minutes(at: Weekly) -> i64 {
        i64::from(at.day - 1) * 1440 + i64::from(at.minute)
    }

    fn zoned(policy: &Policy, at: Micros) -> jiff::Zoned {
        jiff::Timestamp::from_microsecond(at.0).unwrap().to_zoned(policy.zone.clone())
    }

    fn minute_of_week(policy: &Policy, at: Micros) -> i64 {
        let here = zoned(policy, at);
        let day = i64::from(here.weekday().to_monday_zero_offset());
        day * 1440 + i64::from(here.hour()) * 60 + i64::from(here.minute())
    }

    fn is_ordinary(policy: &Policy, at: Micros) -> bool {
        let offset = |at: Micros| zoned(policy, at).offset();
        offset(at - Span::hours(4)) == offset(at + Span::hours(4))
    }

    proptest! {}
}
