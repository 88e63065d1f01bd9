//! Nothing acts right after a start or a clock step. Shadow does not wait.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = format!("{} after a start", case.policy.spec.settle_after_start);
    match case.state.settling_until().filter(|until| *until > case.now) {
        Some(until) if !case.is_shadow() => {
            let verdict = Verdict::Hold { until: Some(until), reason: Reason::Settling { until } };
            Says::verdict(format!("until {}", case.time(until)), limit, verdict)
        }
        Some(_) => Says::allow("shadow does not wait", limit),
        // Over, or never begun: an empty journal has nothing to settle.
        None => Says::allow("not settling", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_waits_until_the_very_moment_and_shadow_never(
            settles in prop::option::of(around(Span::seconds(10), 12)), passed in around(Span::seconds(10), 12), mode in modes(),
            purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            let until = settles.map(|span| scene.now + span);
            scene.state.settling_until = until;
            scene.now = scene.now + passed;
            scene.step().rung.mode = mode;
            scene.step().purpose = purpose;
            let wanted = match until {
                Some(until) if scene.now < until && !scene.is_shadow() => hold(Some(until), Reason::Settling { until }),
                _ => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Settle), wanted);
        }
    }
}
