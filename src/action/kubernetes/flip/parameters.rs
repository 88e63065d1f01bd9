//! What `with` may say to `kubernetes/flip`. Every problem is told, each in words of its own.

use super::smoke::{Smoke, Smoker};
use crate::{
    action::kubernetes::{
        revision_choice::{STOOD_FOR, deployed_within_of},
        unknown_keys,
    },
    model::time::Span,
};
use serde_json::Value;

const WATCH: Span = Span::minutes(10);
const SHORTEST_WATCH: Span = Span::minutes(1);
const LONGEST_WATCH: Span = Span::hours(1);

/// `with`, as used.
pub struct Parameters {
    /// Ready pods that the other colour must have. None: as many as the live one.
    pub min_ready: Option<u32>,
    pub smoke: Option<Smoke>,
    /// What came to the live colour within this time is looked at, however old the other colour is.
    pub recent: Span,
}

pub fn of_with(with: &Value) -> Result<Parameters, String> {
    let recent = deployed_within_of(with)?.unwrap_or(STOOD_FOR).max(STOOD_FOR);
    Ok(Parameters { min_ready: min_ready_of(with)?, smoke: Smoke::of_with(with)?, recent })
}

/// How long the new colour is watched.
pub fn watch_of(with: &Value) -> Result<Span, String> {
    let Some(written) = with.get("watch") else { return Ok(WATCH) };
    match written.as_str().map(Span::parse) {
        Some(Ok(span)) if (SHORTEST_WATCH..=LONGEST_WATCH).contains(&span) => Ok(span),
        Some(Ok(_)) => Err(format!("`watch` is between {SHORTEST_WATCH} and {LONGEST_WATCH}")),
        Some(Err(_)) | None => Err(format!("`watch` is a duration like `10m`, not {written}")),
    }
}

fn min_ready_of(with: &Value) -> Result<Option<u32>, String> {
    let Some(written) = with.get("min_ready") else { return Ok(None) };
    match written.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(0) => Err("`min_ready` is at least 1: nothing is flipped to a colour without a ready pod".to_owned()),
        Some(number) => Ok(Some(number)),
        None => Err(format!("`min_ready` is a number of pods, not {written}")),
    }
}

/// What is allowed and proves nothing.
pub fn warnings(with: &Value) -> Vec<String> {
    match Smoke::of_with(with) {
        Ok(Some(smoke)) if !smoke.asks_each_colour() => {
            let what = "`smoke` has a url without `{color}`: before the flip it asks whichever colour is live";
            vec![format!("{what}, and says nothing of the other one")]
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// All that is wrong with it. `colors`: where the smoke test would go for each.
pub fn problems(action: &str, with: &Value, colors: &[String; 2], smoker: &Smoker) -> Vec<String> {
    let mut problems = unknown_keys(action, with, &["min_ready", "smoke", "watch", "deployed_within"]);
    problems.extend(min_ready_of(with).err());
    problems.extend(watch_of(with).err());
    problems.extend(deployed_within_of(with).err());
    match Smoke::of_with(with) {
        Ok(Some(smoke)) => {
            let mut said: Vec<String> = colors.iter().filter_map(|color| smoker.refuses(&smoke, color)).collect();
            said.dedup();
            problems.extend(said);
        }
        Ok(None) => {}
        Err(why) => problems.push(why),
    }
    problems
}
