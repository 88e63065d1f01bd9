//! `with: {to: previous | last_verified | N, deployed_within: 1h}`: which revision is wanted, and how it is found.

use super::revisions::{Revision, Revisions};
use crate::model::time::Span;
use serde_json::Value;

/// Longer is asked of nobody, as everywhere in rules.
const LONGEST: Span = Span::hours(31 * 24);
/// What was in full so long is taken for good, and what is younger may be rolled back (`deployed_within`): the same measure
/// on both sides, and the journal's ([`crate::decide::records::STOOD_FOR`]).
pub const STOOD_FOR: Span = Span::hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The newest earlier one that runs something else.
    Previous,
    /// The newest earlier one that is known to have run well. That it was the newest for long proves nothing: a broken one
    /// stands over night.
    LastVerified,
    Number(i64),
}

/// `to`, or what is wrong with it. Without it, the previous one.
pub fn wanted_of(with: &Value) -> Result<Wanted, String> {
    let wrong = |to: &Value| format!("`to` is previous, last_verified or a revision's number, not {to}");
    match with.get("to") {
        None => Ok(Wanted::Previous),
        Some(Value::String(word)) if word == "previous" => Ok(Wanted::Previous),
        Some(Value::String(word)) if word == "last_verified" => Ok(Wanted::LastVerified),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(number) if number >= 1 => Ok(Wanted::Number(number)),
            Some(number) => Err(format!("`to: {number}` is no revision: they count from 1")),
            None => Err(wrong(&Value::Number(number.clone()))),
        },
        Some(other) => Err(wrong(other)),
    }
}

/// `deployed_within`, or what is wrong with it.
pub fn deployed_within_of(with: &Value) -> Result<Option<Span>, String> {
    let Some(written) = with.get("deployed_within") else { return Ok(None) };
    match written.as_str().map(Span::parse) {
        Some(Ok(Span::ZERO)) => Err("`deployed_within` of no time rolls nothing back".to_owned()),
        Some(Ok(span)) if span > LONGEST => Err("`deployed_within` is at most 31d".to_owned()),
        Some(Ok(span)) => Ok(Some(span)),
        Some(Err(_)) | None => Err(format!("`deployed_within` is a duration like `30m`, not {written}")),
    }
}

/// The revision to go to, or why there is none. `good`: versions that ran when nightshift verified a step, or that it saw
/// in full for [`STOOD_FOR`].
pub fn choose<'a>(
    wanted: Wanted,
    revisions: &'a Revisions,
    current: &'a Revision,
    good: &[String],
) -> Result<&'a Revision, String> {
    let version = current.template.version();
    let mut earlier = revisions.before(current).filter(|one| one.template.version() != version);
    let none = || match revisions.before(current).count() {
        0 => format!("it has no revision before {}", current.number),
        _ => format!("every earlier revision runs what revision {} runs", current.number),
    };
    match wanted {
        Wanted::Previous => earlier.next().ok_or_else(none),
        Wanted::LastVerified => {
            let mut earlier = earlier.peekable();
            if earlier.peek().is_none() {
                return Err(none());
            }
            // A rollout that got stuck: what it was to replace still runs.
            let stands =
                |one: &Revision| one.is_available && revisions.stood(one).is_some_and(|stood| stood >= STOOD_FOR);
            let mut known = earlier.filter(|one| stands(one) || good.contains(&one.template.version()));
            known.next().ok_or_else(|| {
                format!(
                    "no revision before {} is known to be good: none was verified, none was seen by nightshift with all of \
                     its pods for {STOOD_FOR}, and none of that age still runs",
                    current.number
                )
            })
        }
        Wanted::Number(number) if number == current.number => Err(format!("revision {number} is the current one")),
        Wanted::Number(number) => {
            let Some(found) = revisions.by_number(number) else {
                let kept: Vec<String> = revisions.numbers().iter().map(i64::to_string).collect();
                return Err(format!("it keeps no revision {number}, but {}", kept.join(", ")));
            };
            if found.template.version() == version {
                return Err(format!("revision {number} runs what revision {} runs already", current.number));
            }
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::revisions::tests::{restarted, revision, revisions},
        *,
    };
    use serde_json::json;

    #[test]
    fn every_wrong_parameter_has_its_own_words() {
        assert_eq!(wanted_of(&json!({})), Ok(Wanted::Previous));
        assert_eq!(wanted_of(&json!({"to": "last_verified"})), Ok(Wanted::LastVerified));
        assert_eq!(wanted_of(&json!({"to": 3})), Ok(Wanted::Number(3)));
        let mut said = std::collections::BTreeSet::new();
        for to in [json!("latest"), json!(0), json!(-1), json!(1.5), json!("3"), json!(true), json!(null)] {
            said.insert(wanted_of(&json!({ "to": to })).unwrap_err());
        }
        assert_eq!(said.len(), 7);
        assert_eq!(deployed_within_of(&json!({})), Ok(None));
        assert_eq!(deployed_within_of(&json!({"deployed_within": "30m"})), Ok(Some(Span::minutes(30))));
        for span in [json!("0s"), json!("32d"), json!("soon"), json!(30), json!(null)] {
            said.insert(deployed_within_of(&json!({ "deployed_within": span })).unwrap_err());
        }
        assert_eq!(said.len(), 12, "{said:?}");
    }

    #[test]
    fn the_previous_revision_runs_something_else() {
        let bad = revision(&[2], "b", 90);
        let all = revisions(vec![revision(&[1], "a", 0), bad.clone(), restarted(&bad, 3, 95)]);
        let current = all.by_number(3).unwrap();
        assert_eq!(choose(Wanted::Previous, &all, current, &[]).unwrap().number, 1, "2 is what 3 is, before a restart");
        let same = choose(Wanted::Number(2), &all, current, &[]).unwrap_err();
        assert_eq!(same, "revision 2 runs what revision 3 runs already");
        let only = revisions(vec![bad.clone(), restarted(&bad, 3, 95)]);
        let refused = choose(Wanted::Previous, &only, only.by_number(3).unwrap(), &[]).unwrap_err();
        assert_eq!(refused, "every earlier revision runs what revision 3 runs");
    }

    #[test]
    fn the_last_verified_revision_is_one_that_is_known_to_be_good() {
        let all = revisions(vec![
            revision(&[1], "a", 0),
            revision(&[2], "b", 60),
            revision(&[3], "c", 119),
            revision(&[4], "d", 130),
        ]);
        let current = all.by_number(4).unwrap();
        let version = |number| all.by_number(number).unwrap().template.version();
        let chosen = |good: &[String]| choose(Wanted::LastVerified, &all, current, good).map(|one| one.number);
        assert_eq!(chosen(&[version(1)]), Ok(1));
        assert_eq!(chosen(&[version(1), version(3)]), Ok(3));
        assert_eq!(choose(Wanted::Previous, &all, current, &[]).unwrap().number, 3);
        let refused = "no revision before 4 is known to be good: none was verified, none was seen by nightshift with all of \
                       its pods for 1h, and none of that age still runs";
        assert_eq!(chosen(&[]).unwrap_err(), refused);
        assert_eq!(chosen(&[current.template.version()]).unwrap_err(), refused, "the bad one itself");
    }

    /// No pod of it was ever available, and what came after it was the attempt to mend it.
    #[test]
    fn a_revision_that_stood_broken_over_night_is_not_the_last_verified_one() {
        let all = revisions(vec![revision(&[1], "a", 0), revision(&[2], "b", 1440), revision(&[3], "c", 1980)]);
        let good = [all.by_number(1).unwrap().template.version()];
        let chosen = choose(Wanted::LastVerified, &all, all.by_number(3).unwrap(), &good).unwrap();
        assert_eq!(chosen.number, 1);
        assert!(choose(Wanted::LastVerified, &all, all.by_number(3).unwrap(), &[]).is_err());
    }

    #[test]
    fn what_a_stuck_rollout_was_to_replace_still_proves_itself() {
        let with = |minute: i64, is_available: bool| {
            let old = Revision { is_available, ..revision(&[1], "a", 0) };
            let all = revisions(vec![old, revision(&[2], "b", minute)]);
            choose(Wanted::LastVerified, &all, all.by_number(2).unwrap(), &[]).map(|one| one.number)
        };
        assert_eq!(with(90, true), Ok(1));
        assert!(with(90, false).is_err(), "it has no pods, or broken ones");
        assert!(with(30, true).is_err(), "it was too young");
    }

    #[test]
    fn a_number_that_is_not_kept_and_one_that_is_current_are_refused() {
        let all = revisions(vec![revision(&[5], "a", 0), revision(&[7], "b", 60)]);
        let current = all.by_number(7).unwrap();
        assert_eq!(choose(Wanted::Number(6), &all, current, &[]).unwrap_err(), "it keeps no revision 6, but 5, 7");
        assert_eq!(choose(Wanted::Number(7), &all, current, &[]).unwrap_err(), "revision 7 is the current one");
        assert_eq!(choose(Wanted::Number(5), &all, current, &[]).unwrap().number, 5);
        let first = revisions(vec![revision(&[1], "a", 0)]);
        let refused = choose(Wanted::Previous, &first, first.by_number(1).unwrap(), &[]).unwrap_err();
        assert_eq!(refused, "it has no revision before 1");
    }
}
