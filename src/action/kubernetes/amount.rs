//! How many replicas: the grammar of `with: {replicas: …}` and its arithmetic, pure.
//!
//! | written | means |
//! |---|---|
//! | `6`, `"6"` | exactly six. Never fewer than now, unless `down: true` stands beside it |
//! | `"+2"`, `"-1"`, `-1` | two more, one fewer. Rules files keep `+2` without quotes; other readers make it 2 |
//! | `"+50%"`, `"50%"` | half as many again, rounded up: at least one more |
//! | `"-50%"` | half as many, rounded down in what it takes away: at least one fewer |
//!
//! Where a reader made it 2, it can't be told from a 2, so an exact number that would take
//! replicas away is refused unless the rule says that it means it: the mistake then costs nothing.
//!
//! Steps and percentages stop at the target's bounds; an exact number does not: a guard judges it.

use crate::model::{rung::Bounds, time::Span};
use serde_json::Value;

/// No Deployment of sense has more; keeps the arithmetic far from overflow.
const MOST: u32 = 100_000;
/// More than this in one step is a slip of the keyboard.
const MOST_PERCENT: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Exactly { replicas: u32, down: bool },
    More(u32),
    Fewer(u32),
    MorePercent(u32),
    FewerPercent(u32),
}

/// What an amount comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// `clamped`: what was wanted, when the bounds allow only a part of it.
    To {
        replicas: u32,
        clamped: Option<u32>,
    },
    Refused {
        why: String,
    },
}

impl Amount {
    /// Reads what stands in `with`. `down`: the rule says that an exact number may take replicas away.
    pub fn parse(value: &Value, down: bool) -> Result<Amount, String> {
        let wrong = || {
            format!(
                "`replicas: {value}` is not an amount: write a number (6), a step (+2, -1) or a percentage (50%, -50%)"
            )
        };
        if let Some(number) = value.as_i64() {
            let size = u32::try_from(number.unsigned_abs()).ok().filter(|size| *size <= MOST).ok_or_else(wrong)?;
            return Ok(if number < 0 { Amount::Fewer(size) } else { Amount::Exactly { replicas: size, down } });
        }
        let text = value.as_str().ok_or_else(wrong)?;
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+') => (Some(true), text.get(1..).unwrap_or_default()),
            Some(b'-') => (Some(false), text.get(1..).unwrap_or_default()),
            _ => (None, text),
        };
        let (digits, percent) = match rest.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (rest, false),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        let most = if percent { MOST_PERCENT } else { MOST };
        if number >= 100 && percent && sign == Some(false) {
            return Err(format!(
                "`replicas: {value}` leaves nothing: write at most -99%, or `replicas: 0` with `down: true` to isolate the target"
            ));
        }
        if number > most || (number == 0 && (percent || sign.is_some())) {
            return Err(wrong());
        }
        Ok(match (sign, percent) {
            (None, false) => Amount::Exactly { replicas: number, down },
            (Some(true), false) => Amount::More(number),
            (Some(false), false) => Amount::Fewer(number),
            // Without a sign it is more: read as "to half of it" in the middle of an outage it would do harm.
            (Some(true) | None, true) => Amount::MorePercent(number),
            (Some(false), true) => Amount::FewerPercent(number),
        })
    }

    /// The absolute number, given how many there are.
    #[must_use]
    pub fn resolve(self, now: u32, bounds: Option<Bounds>) -> Resolved {
        let share = |percent: u32| u32::try_from(u64::from(now) * u64::from(percent) / 100).unwrap_or(MOST);
        let wanted = match self {
            Amount::Exactly { replicas, .. } if replicas == now => {
                return Resolved::Refused { why: format!("there are {now} replicas already") };
            }
            Amount::Exactly { replicas, down: false } if replicas < now => {
                return Resolved::Refused {
                    why: format!(
                        "{replicas} replicas would be fewer than the {now} there are: write `down: true` if that is meant, or +{replicas} for so many more"
                    ),
                };
            }
            Amount::Exactly { replicas, .. } => return Resolved::To { replicas, clamped: None },
            Amount::More(step) => now.saturating_add(step),
            Amount::Fewer(step) => now.saturating_sub(step),
            Amount::MorePercent(percent) => {
                let exact = u64::from(now) * u64::from(percent);
                now.saturating_add(u32::try_from(exact.div_ceil(100)).unwrap_or(MOST).max(1))
            }
            Amount::FewerPercent(percent) => now.saturating_sub(share(percent).max(1)),
        };
        let bounded = match bounds {
            Some(bounds) if wanted > now => wanted.min(bounds.max),
            Some(bounds) => wanted.max(bounds.min),
            None => wanted,
        };
        // Beyond a bound already, or at it: the bound must not turn "more" into "fewer".
        let goes_the_way_it_says = if wanted > now { bounded > now } else { bounded < now };
        if goes_the_way_it_says {
            return Resolved::To { replicas: bounded, clamped: (bounded != wanted).then_some(wanted) };
        }
        let limit = match bounds {
            Some(bounds) if wanted > now => format!("at most {}", bounds.max),
            Some(bounds) => format!("at least {}", bounds.min),
            None => format!("{wanted} wanted"),
        };
        Resolved::Refused { why: format!("there are {now} replicas already, and the target has {limit}") }
    }
}

/// What stands in `with`.
pub fn of_with(with: &Value) -> Result<Amount, String> {
    let replicas = with.get("replicas").ok_or_else(|| "kubernetes/scale needs `with: {replicas: …}`".to_owned())?;
    Amount::parse(replicas, with.get("down") == Some(&Value::Bool(true)))
}

/// `lease: 2h`, if it stands in `with`.
pub fn lease_of_with(with: &Value) -> Result<Option<Span>, String> {
    match with.get("lease") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Span::parse(text) {
            Ok(span) if span < Span::minutes(1) => Err(format!("`lease: {text}` is under a minute")),
            Ok(span) => Ok(Some(span)),
            Err(_) => Err(format!("`lease: {text}` is not a duration: write a number and a unit, like 1h or 90m")),
        },
        Some(other) => Err(format!("`lease: {other}` is not a duration: write a number and a unit, like 1h or 90m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Amount, String> {
        Amount::parse(&value, false)
    }

    fn to(replicas: u32) -> Resolved {
        Resolved::To { replicas, clamped: None }
    }

    #[test]
    fn every_form_of_the_table_is_read() {
        assert_eq!(parse(json!(6)), Ok(Amount::Exactly { replicas: 6, down: false }));
        assert_eq!(parse(json!("6")), Ok(Amount::Exactly { replicas: 6, down: false }));
        assert_eq!(parse(json!("+2")), Ok(Amount::More(2)));
        assert_eq!(parse(json!("-1")), Ok(Amount::Fewer(1)));
        assert_eq!(parse(json!(-1)), Ok(Amount::Fewer(1)));
        assert_eq!(parse(json!("50%")), Ok(Amount::MorePercent(50)));
        assert_eq!(parse(json!("+50%")), Ok(Amount::MorePercent(50)));
        assert_eq!(parse(json!("-50%")), Ok(Amount::FewerPercent(50)));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_forms_that_are() {
        for value in [
            json!(null),
            json!(1.5),
            json!(true),
            json!(""),
            json!("+"),
            json!("%"),
            json!("++2"),
            json!("2+"),
            json!("0%"),
            json!("+0"),
            json!("-0"),
            json!("1001%"),
            json!("50 %"),
            json!(" 6"),
            json!("٣"),
            json!(100_001),
            json!("99999999999"),
            json!([6]),
            json!("6.0"),
            json!("1e3"),
        ] {
            let problem = parse(value.clone()).unwrap_err();
            assert!(problem.contains("(50%, -50%)"), "{value}: {problem}");
        }
        for nothing_left in ["-100%", "-250%"] {
            let problem = parse(json!(nothing_left)).unwrap_err();
            assert!(problem.contains("leaves nothing") && problem.contains("`down: true`"), "{problem}");
        }
    }

    #[test]
    fn a_plus_two_that_became_a_two_takes_nothing_away() {
        // `replicas: +2` arrives as the number 2.
        let Resolved::Refused { why } = parse(json!(2)).unwrap().resolve(4, None) else { panic!() };
        assert!(why.contains("or +2 for so many more"), "{why}");
        assert_eq!(Amount::parse(&json!(2), true).unwrap().resolve(4, None), to(2));
    }

    #[test]
    fn percentages_round_away_from_nothing() {
        for (percent, now, result) in [(50, 1, 2), (50, 3, 5), (50, 4, 6), (1, 10, 11), (200, 3, 9)] {
            assert_eq!(Amount::MorePercent(percent).resolve(now, None), to(result), "+{percent}% of {now}");
        }
        for (percent, now, result) in [(50, 1, 0), (50, 3, 2), (50, 4, 2), (1, 10, 9), (99, 100, 1)] {
            assert_eq!(Amount::FewerPercent(percent).resolve(now, None), to(result), "-{percent}% of {now}");
        }
    }

    #[test]
    fn a_step_stops_at_the_bounds_and_says_so() {
        let bounds = Some(Bounds { min: 2, max: 5, may_scale_to_zero: false });
        assert_eq!(Amount::More(2).resolve(4, bounds), Resolved::To { replicas: 5, clamped: Some(6) });
        assert_eq!(Amount::Fewer(3).resolve(4, bounds), Resolved::To { replicas: 2, clamped: Some(1) });
        for (amount, now) in [(Amount::More(2), 5), (Amount::More(2), 9), (Amount::Fewer(1), 2), (Amount::Fewer(1), 1)]
        {
            assert!(matches!(amount.resolve(now, bounds), Resolved::Refused { .. }), "{amount:?} at {now}");
        }
        // An exact number is not bent: the guard says no.
        assert_eq!(Amount::Exactly { replicas: 9, down: false }.resolve(4, bounds), to(9));
    }

    proptest! {
        #[test]
        fn a_resolved_amount_is_absolute_goes_its_way_and_stays_within_bounds(
            kind in 0..4u8, size in 1u32..=99, now in 0u32..=2000, min in 0u32..=50, extra in 0u32..=2000,
        ) {
            let bounds = Bounds { min, max: min + extra, may_scale_to_zero: false };
            let amount = match kind {
                0 => Amount::More(size),
                1 => Amount::Fewer(size),
                2 => Amount::MorePercent(size),
                _ => Amount::FewerPercent(size),
            };
            let more = matches!(amount, Amount::More(_) | Amount::MorePercent(_));
            if let Resolved::To { replicas, clamped } = amount.resolve(now, Some(bounds)) {
                prop_assert_eq!((replicas > now, replicas < now), (more, !more));
                prop_assert!((!more || replicas <= bounds.max) && (more || replicas >= bounds.min));
                if let Some(wanted) = clamped {
                    prop_assert_eq!((wanted > replicas, wanted < replicas), (more, !more));
                }
                // What the plan says is absolute: doing it again finds it done.
                let again = Amount::Exactly { replicas, down: true }.resolve(replicas, Some(bounds));
                prop_assert!(matches!(again, Resolved::Refused { .. }), "expected nothing more to do");
            }
        }

        #[test]
        fn no_text_panics_the_reader(text in ".{0,12}") {
            let _ = Amount::parse(&Value::String(text), false).map(|amount| amount.resolve(3, None));
        }
    }
}
