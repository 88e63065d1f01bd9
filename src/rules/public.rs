//! `notify.statuspage`: which incidents concern customers, on which component; and what the settings say of the page.

use super::{
    Statuspages,
    check::{Check, Known},
    file, sections,
};
use crate::{
    config::yaml::Located,
    decide::policy::{Component, Severity, StatusPage, Wish},
    model::public::ComponentStatus,
};
use std::collections::BTreeMap;

/// The wish, where the settings have the component.
pub(super) fn wish(
    check: &mut Check<'_>,
    written: Option<&Located<file::StatuspageWish>>,
    known: &Known<'_>,
) -> Option<Wish> {
    let written = written?;
    let file::StatuspageWish { component, when } = &written.value;
    let severities = known.listed?;
    let (from, to) = sections::range(check, when, severities)?;
    let severities = severities.iter().take(to + 1).skip(from).map(|severity| severity.name.clone()).collect();
    match check.context.statuspage {
        Statuspages::NotKnown => {}
        Statuspages::NotSetUp => {
            let what = "Statuspage is not set up: customers are told nothing";
            check.problems.push(component.warning(what).hint("set `statuspage` in nightshift.yaml"));
        }
        Statuspages::SetUp { components, .. } => {
            if !components.contains_key(&component.value) {
                let shown = crate::telemetry::text::shortened(&component.value, 60);
                let what = format!("no component `{shown}` is under `statuspage.components` in nightshift.yaml");
                check.unknown(component, what, components.keys().map(String::as_str));
                return None;
            }
        }
    }
    Some(Wish { component: component.value.clone(), severities })
}

/// What of the settings decides. `severities`: None where they cannot be read.
pub(super) fn page(check: &mut Check<'_>, severities: Option<&[Severity]>) -> Option<StatusPage> {
    let Statuspages::SetUp { publish, components } = check.context.statuspage else { return None };
    let mut page = StatusPage { publish, components: BTreeMap::new() };
    for (name, given) in components {
        let mut shows: BTreeMap<String, ComponentStatus> = BTreeMap::new();
        for (range, status) in &given.shows {
            let Some((from, to)) = severities.and_then(|all| sections::range(check, range, all)) else { continue };
            for severity in severities.unwrap_or_default().iter().take(to + 1).skip(from) {
                if shows.insert(severity.name.clone(), *status).is_some() {
                    check.error(&range.place, format!("`{}` is in a second range", severity.name));
                }
            }
        }
        page.components.insert(name.clone(), Component { sentences: given.sentences.clone(), shows });
    }
    Some(page)
}
