//! The kill switch. A named person's own undo goes on; what puts things back by itself waits, and is shown.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let Some(paused) = case.state.paused() else { return Says::allow("not paused", "") };
    let reason = Reason::Paused { by: paused.by.clone(), why: paused.reason.clone() };
    let value = format!("paused since {}", case.time(paused.since));
    if case.step.purpose.is_by_person() {
        return Says::allow(value, "a person asked for exactly this");
    }
    let verdict = if case.is_fix() { Verdict::Deny { reason } } else { Verdict::Hold { until: None, reason } };
    Says::verdict(value, "not paused", verdict)
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use crate::decide::state::PauseView;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn nothing_is_done_while_paused_but_what_a_person_puts_back(
            paused in any::<bool>(), ago in grid(Span::minutes(1), 90), purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            let view = PauseView { by: "ann".into(), reason: "quiet".into(), since: scene.now - ago };
            scene.state.paused = paused.then_some(view);
            scene.step().purpose = purpose.clone();
            let reason = Reason::Paused { by: "ann".into(), why: "quiet".into() };
            let wanted = match paused {
                false => Verdict::Allow,
                true if purpose.is_by_person() => Verdict::Allow,
                true if purpose.is_fix() => deny(reason),
                true => hold(None, reason),
            };
            prop_assert_eq!(scene.says(Guard::Pause), wanted);
        }
    }
}
