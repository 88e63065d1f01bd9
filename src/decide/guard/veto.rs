//! A person's undo or reject keeps the rule away from the target until that incident is resolved.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let key = (case.incident.rule.clone(), case.target.clone());
    match case.state.barred.get(&key).and_then(|bars| bars.first()) {
        Some(bar) => {
            Says::deny(format!("barred by {}", bar.by), "nobody's veto", Reason::Barred { by: bar.by.clone() })
        }
        None => Says::allow("no veto", "nobody's veto"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use crate::decide::state::Bar;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_is_of_one_rule_on_one_target(same_rule in any::<bool>(), same_target in any::<bool>(), mode in modes()) {
            let mut scene = Scene::clear();
            let rule = if same_rule { scene.rule() } else { "another-rule".into() };
            let target = if same_target { scene.target() } else { TargetKey("production/Deployment/other".into()) };
            scene.state.barred.insert((rule, target), vec![Bar { incident: OTHER, by: "ann".into() }]);
            scene.step().rung.mode = mode;
            let wanted = if same_rule && same_target { deny(Reason::Barred { by: "ann".into() }) } else { Verdict::Allow };
            prop_assert_eq!(scene.says(Guard::Veto), wanted);
        }
    }
}
