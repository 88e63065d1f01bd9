//! Instants and durations as the journal holds them: whole microseconds, no floats, no clock.
//!
//! `now` is always an argument. Only [`crate::engine`] owns a clock.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{Add, Sub},
};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// A length of time in microseconds. Never negative where a rules file gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Micros {
    /// Reads an RFC 3339 instant; anything finer than a microsecond is cut.
    pub fn parse(text: &str) -> Result<Micros, String> {
        text.parse::<Timestamp>().map(|at| Micros(at.as_microsecond())).map_err(|error| error.to_string())
    }

    /// The instant cut to whole milliseconds: the precision in which Alertmanager's API and webhooks agree.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// RFC 3339 in UTC, to the second.
    #[must_use]
    pub fn rfc3339_seconds(self) -> String {
        match Timestamp::from_second(self.0.div_euclid(1_000_000)) {
            Ok(at) => at.to_string(),
            Err(_) => format!("{}us", self.0),
        }
    }

    /// For people: `2026-03-01 03:12:09 CET`, in the zone of `timezone`.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> String {
        match Timestamp::from_microsecond(self.0) {
            Ok(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            Err(_) => format!("{}us", self.0),
        }
    }

    /// For people, the time of day only: `03:12 CET`.
    #[must_use]
    pub fn time_of_day(self, zone: &TimeZone) -> String {
        match Timestamp::from_microsecond(self.0) {
            Ok(at) => at.to_zoned(zone.clone()).strftime("%H:%M %Z").to_string(),
            Err(_) => format!("{}us", self.0),
        }
    }
}

impl Span {
    pub const ZERO: Span = Span(0);

    #[must_use]
    pub const fn seconds(seconds: i64) -> Span {
        Span(seconds * 1_000_000)
    }

    #[must_use]
    pub const fn minutes(minutes: i64) -> Span {
        Span::seconds(minutes * 60)
    }

    #[must_use]
    pub const fn hours(hours: i64) -> Span {
        Span::minutes(hours * 60)
    }

    #[must_use]
    pub const fn millis(millis: i64) -> Span {
        Span(millis * 1000)
    }

    /// For people: from a second on, in whole seconds.
    #[must_use]
    pub fn rounded(self) -> Span {
        if self < Span::seconds(1) { self } else { Span::seconds(self.0 / 1_000_000) }
    }

    /// For timers of the runtime; a negative span is no wait.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads `90s`, `5m`, `1h30m`, `2d`, `500ms`, `1w`: Prometheus' own notation, units in falling order, each once.
    pub fn parse(text: &str) -> Result<Span, String> {
        const UNITS: [(&str, i64); 6] = [
            ("w", 7 * 86_400_000_000),
            ("d", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1000),
        ];
        let wrong = || format!("`{text}` is not a duration");
        if text == "0" {
            return Ok(Span::ZERO);
        }
        let mut rest = text;
        let mut total: i64 = 0;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at_checked(letters).ok_or_else(wrong)?;
            let (place, (_, micros)) =
                UNITS.iter().enumerate().skip(next_unit).find(|(_, (name, _))| *name == unit).ok_or_else(wrong)?;
            total = number.checked_mul(*micros).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            next_unit = place + 1;
            rest = tail;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Span(total)) }
    }
}

impl Add<Span> for Micros {
    type Output = Micros;
    fn add(self, span: Span) -> Micros {
        Micros(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Micros {
    type Output = Micros;
    fn sub(self, span: Span) -> Micros {
        Micros(self.0.saturating_sub(span.0))
    }
}

impl Sub<Micros> for Micros {
    type Output = Span;
    fn sub(self, other: Micros) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Add<Span> for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            return write!(f, "-{}", Span(self.0.saturating_neg()));
        }
        let millis = self.0 / 1000;
        let mut rest = millis;
        let mut written = false;
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                written = true;
            }
        }
        if written { Ok(()) } else { write!(f, "0s") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_whole_seconds() {
        let rounded = |text| Span::parse(text).unwrap().rounded().to_string();
        assert_eq!(
            (rounded("1m0s5ms"), rounded("2s999ms"), rounded("40ms")),
            ("1m".into(), "2s".into(), "40ms".into())
        );
    }

    #[test]
    fn a_duration_reads_back_as_it_was_written() {
        for text in ["90s", "5m", "1h30m", "2d", "500ms", "0s", "1d2h3m4s5ms"] {
            let span = Span::parse(text).unwrap();
            assert_eq!(Span::parse(&span.to_string()).unwrap(), span, "{text}");
        }
        assert_eq!(Span::parse("1h30m").unwrap(), Span::minutes(90));
        assert_eq!(Span::parse("1w").unwrap(), Span::hours(168));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "m", "1m1h", "1m1m", "-5m", "1.5h", "5 m", "99999999999999d", "5x"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }
}
