//! Alertmanager's routes, walked as it walks them, and whether they fit our rules: `nightshift check --alertmanager`.
//!
//! [`mod@file`] reads what an alertmanager.yml says of routes and receivers, and leaves the rest to Alertmanager; [`tree`] walks
//! it. A fault is shown by an alert that it happens to: [`examples`] makes alerts out of everything that routes and rules
//! match by, [`reach`] follows each to those who hear of it, [`hold`] looks at those whose page waits for a verdict. [`access`]
//! looks at whether the webhooks would be let in, [`keys`] for misspelt ones. So what
//! is told is true of a running Alertmanager (`amtool config routes test` agrees); that nothing is told proves nothing for
//! an alert that is unlike all examples.

mod access;
mod examples;
mod file;
mod hold;
mod keys;
mod reach;
mod tree;

#[cfg(test)]
mod tests;

use crate::{
    config::{Settings, node::Place},
    decide::Policy,
    model::{alert::Labels, problem::Problem},
    telemetry::text::shortened,
};
use std::collections::BTreeMap;

/// A person mends some and runs it again.
const MOST_PROBLEMS: usize = 100;
/// Of an example's labels, in a sentence.
const LONGEST_EXAMPLE: usize = 200;

/// What became of the check of one file.
#[derive(Debug)]
pub struct Checked {
    pub problems: Vec<Problem>,
    /// What was found there, for people: receivers that lead to nightshift, routes that wait.
    pub found: Vec<String>,
}

/// All that is wrong in an alertmanager.yml of this name and text, for these settings and rules. Without them (they were refused)
/// only what holds for any is looked at.
#[must_use]
pub fn check(name: &str, text: &str, settings: Option<&Settings>, policy: Option<&Policy>) -> Checked {
    let (written, problems) = file::read(name, text);
    let mut check = Check { problems, told: BTreeMap::new(), found: Vec::new() };
    if let Some(written) = written {
        reach::receivers(&mut check, &written);
        if let Some(settings) = settings {
            access::webhooks(&mut check, &written, settings);
        }
        if let Some(tree) = &written.tree {
            let examples = examples::of(tree, policy);
            reach::routes(&mut check, &written, tree, policy);
            reach::alerts(&mut check, &written, tree, &examples);
            if let Some(policy) = policy {
                hold::alerts(&mut check, &written, tree, settings, policy, &examples);
            }
        }
    }
    let mut problems = check.problems;
    problems.extend(check.told.into_values());
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.truncate(MOST_PROBLEMS);
    Checked { problems, found: check.found }
}

/// Who hears of an alert with these labels: receivers by name, in the order of their routes, as Alertmanager has it.
pub fn receivers(name: &str, text: &str, labels: &Labels) -> Result<Vec<String>, Vec<Problem>> {
    let (written, problems) = file::read(name, text);
    let Some(tree) = written.and_then(|written| written.tree) else { return Err(problems) };
    Ok(tree.walk(labels).into_iter().filter_map(|id| tree.get(id)).map(|route| route.receiver.clone()).collect())
}

/// Problems as they are found. Of one fault at one place the first example is shown.
struct Check {
    problems: Vec<Problem>,
    /// By place, fault, and the rule that it concerns.
    told: BTreeMap<(u32, u32, &'static str, String), Problem>,
    found: Vec<String>,
}

impl Check {
    fn error(&mut self, place: &Place, fault: &'static str, of: &str, what: String, hint: impl Into<String>) {
        self.tell(place, fault, of, place.error(what).hint(hint));
    }

    fn warning(&mut self, place: &Place, fault: &'static str, of: &str, what: String, hint: impl Into<String>) {
        self.tell(place, fault, of, place.warning(what).hint(hint));
    }

    fn tell(&mut self, place: &Place, fault: &'static str, of: &str, problem: Problem) {
        self.told.entry((place.line, place.column, fault, of.to_owned())).or_insert(problem);
    }
}

/// `{alertname="Any", team="db"}`.
fn shown(labels: &Labels) -> String {
    let words: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", shortened(&words.join(", "), LONGEST_EXAMPLE))
}
