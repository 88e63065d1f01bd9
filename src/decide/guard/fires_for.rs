//! `for`: blips never act. Counts from when the longest-firing alert of the incident was first seen.

use super::{Case, Says};
use crate::{
    decide::state::Held,
    model::{reason::Reason, step::Verdict},
};

pub fn guard(case: &Case) -> Says {
    let Some(ladder) = &case.incident.ladder else { return Says::allow("no ladder", "") };
    let alerts = case.incident.alerts.iter().filter_map(|print| case.state.alerts.get(print));
    let first = alerts.filter(|alert| alert.held == Held::Firing).map(|alert| alert.seen_at).min();
    let limit = ladder.fires_for.to_string();
    match first {
        None => Says::deny("nothing of it fires", limit, Reason::AlertResolved),
        Some(first) if first + ladder.fires_for > case.now => {
            let until = first + ladder.fires_for;
            let verdict = Verdict::Hold { until: Some(until), reason: Reason::TooYoung { until } };
            Says::verdict(format!("{} so far", (case.now - first).rounded()), limit, verdict)
        }
        Some(first) => Says::allow(format!("{} so far", (case.now - first).rounded()), limit),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_counts_from_the_first_that_still_fires(
            fires_for in grid(Span::seconds(30), 10),
            alerts in prop::collection::vec((around(Span::seconds(30), 12), any::<bool>()), 0..4),
        ) {
            let mut scene = Scene::clear();
            let one = scene.alert().clone();
            scene.state.alerts.clear();
            scene.incident().alerts.clear();
            scene.incident().ladder.as_mut().unwrap().fires_for = fires_for;
            let now = scene.now;
            for (number, (ago, fires)) in alerts.iter().enumerate() {
                let mut alert = one.clone();
                (alert.seen_at, alert.held) = (now - *ago, if *fires { Held::Firing } else { Held::Resolved });
                let print = Fingerprint::new(&format!("a{number}"));
                scene.incident().alerts.insert(print.clone());
                scene.state.alerts.insert(print, alert);
            }
            let longest = alerts.iter().filter(|(_, fires)| *fires).map(|(ago, _)| *ago).max();
            let wanted = match longest {
                None => deny(Reason::AlertResolved),
                Some(longest) if longest < fires_for => {
                    let until = now - longest + fires_for;
                    hold(Some(until), Reason::TooYoung { until })
                }
                Some(_) => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::For), wanted);
        }
    }
}
