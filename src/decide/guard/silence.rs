//! Silenced or inhibited in Alertmanager: nothing new acts.

use super::{Case, Says};
use crate::model::{
    firing::{Firing, FiringAnswer},
    reason::Reason,
};
use std::collections::BTreeSet;

pub fn guard(case: &Case) -> Says {
    let Ok(observation) = case.observation else { return Says::allow("not asked", "not silenced") };
    let FiringAnswer::Answered { alerts, .. } = &observation.firing else {
        return Says::allow("not asked", "not silenced");
    };
    let by: BTreeSet<&String> = alerts
        .values()
        .filter_map(|firing| match firing {
            Firing::Suppressed { by } => Some(by),
            Firing::Active { .. } | Firing::Unprocessed | Firing::Absent => None,
        })
        .flatten()
        .collect();
    let suppressed = alerts.values().filter(|firing| matches!(firing, Firing::Suppressed { .. })).count();
    if suppressed == 0 {
        return Says::allow("not silenced", "not silenced");
    }
    // A silence on one alert of an incident is somebody's word about the incident.
    let reason = Reason::Silenced { by: by.into_iter().cloned().collect() };
    Says::deny(format!("{suppressed} silenced or inhibited"), "not silenced", reason)
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn one_silenced_alert_speaks_for_the_incident(answer in answers(), mode in modes()) {
            let mut scene = Scene::clear();
            scene.step().rung.mode = mode;
            scene.seen().firing = answer.clone();
            let mut by = BTreeSet::new();
            let mut silenced = false;
            if let FiringAnswer::Answered { alerts, .. } = &answer {
                for firing in alerts.values() {
                    if let Firing::Suppressed { by: ids } = firing {
                        silenced = true;
                        by.extend(ids.iter().cloned());
                    }
                }
            }
            let wanted = if silenced { deny(Reason::Silenced { by: by.into_iter().collect() }) } else { Verdict::Allow };
            prop_assert_eq!(scene.says(Guard::Silence), wanted);
        }
    }
}
