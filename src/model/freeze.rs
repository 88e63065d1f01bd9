//! Freezes: windows in which nothing acts. Dates, or hours that come every week, with severities excepted.
//!
//! Weekly hours are those of the policy's zone, daylight saving included: `Mon 06:00` is six in the morning there.

use super::time::Micros;
use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub name: String,
    pub window: Window,
    /// Severities that it does not stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// From the first moment, to just before the second.
    Dates {
        from: Micros,
        to: Micros,
    },
    Weekly {
        from: Weekly,
        to: Weekly,
    },
}

/// A moment that comes every week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weekly {
    /// 1 is Monday, 7 Sunday.
    pub day: i8,
    /// Minutes after midnight.
    pub minute: i16,
}

const MINUTES_OF_DAY: i32 = 24 * 60;

fn minute_of_week(at: &Zoned) -> i32 {
    let day = i32::from(at.weekday().to_monday_zero_offset());
    day * MINUTES_OF_DAY + i32::from(at.hour()) * 60 + i32::from(at.minute())
}

const DAYS: [(&str, i8); 7] = [("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6), ("sun", 7)];

impl Weekly {
    /// `Fri 18:00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Weekly> {
        let (day, time) = text.trim().split_once(' ')?;
        let day = DAYS.iter().find(|(word, _)| day.eq_ignore_ascii_case(word))?.1;
        let (hour, minute) = time.trim().split_once(':')?;
        let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u8>().ok()).flatten().map(i16::from);
        let (hour, minute) = (two(hour)?, two(minute)?);
        (hour < 24 && minute < 60).then_some(Weekly { day, minute: hour * 60 + minute })
    }

    fn of_week(self) -> i32 {
        i32::from(self.day - 1) * MINUTES_OF_DAY + i32::from(self.minute)
    }

    /// The next one after `now`.
    fn after(self, now: &Zoned) -> Option<Zoned> {
        let day = Weekday::from_monday_one_offset(self.day).ok()?;
        let hour = i8::try_from(self.minute / 60).ok()?;
        let time = Time::new(hour, i8::try_from(self.minute % 60).ok()?, 0, 0).ok()?;
        (0..=7).find_map(|days| {
            let date = now.date().checked_add(days.days()).ok()?;
            let at = now.time_zone().to_ambiguous_zoned(date.to_datetime(time));
            // Where the clocks go back, a time comes twice.
            let (first, second) = (at.clone().compatible().ok()?, at.later().ok()?);
            (date.weekday() == day).then_some([first, second])?.into_iter().find(|at| at > now)
        })
    }
}

impl Freeze {
    /// When it begins next after `now`. None: never again.
    #[must_use]
    pub fn next_start(&self, now: Micros, zone: &TimeZone) -> Option<Micros> {
        match &self.window {
            Window::Dates { from, .. } => (now < *from).then_some(*from),
            Window::Weekly { from, .. } => {
                let here = Timestamp::from_microsecond(now.0).ok()?.to_zoned(zone.clone());
                from.after(&here).map(|begins| Micros(begins.timestamp().as_microsecond()))
            }
        }
    }

    /// Until when it holds, if it holds at `now`.
    #[must_use]
    pub fn holds_until(&self, now: Micros, zone: &TimeZone) -> Option<Micros> {
        match &self.window {
            Window::Dates { from, to } => (*from <= now && now < *to).then_some(*to),
            Window::Weekly { from, to } => {
                let here = Timestamp::from_microsecond(now.0).ok()?.to_zoned(zone.clone());
                // By the clock on the wall, whatever hours are left out or come twice.
                let (from_minute, to_minute, minute) = (from.of_week(), to.of_week(), minute_of_week(&here));
                let holds = if from_minute <= to_minute {
                    (from_minute..to_minute).contains(&minute)
                } else {
                    minute >= from_minute || minute < to_minute
                };
                if holds { to.after(&here).map(|ends| Micros(ends.timestamp().as_microsecond())) } else { None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    fn weekly(from: &str, to: &str) -> Freeze {
        let [from, to] = [from, to].map(|text| Weekly::parse(text).unwrap());
        Freeze { name: "weekend".into(), window: Window::Weekly { from, to }, except: Vec::new() }
    }

    #[test]
    fn dates_hold_from_the_first_moment_to_just_before_the_last() {
        let (from, to) = (at("2026-12-31T18:00:00Z"), at("2027-01-01T06:00:00Z"));
        let freeze = Freeze { name: "quarter-end".into(), window: Window::Dates { from, to }, except: Vec::new() };
        let zone = TimeZone::UTC;
        assert_eq!(freeze.holds_until(at("2026-12-31T17:59:59Z"), &zone), None);
        assert_eq!(freeze.holds_until(from, &zone), Some(to));
        assert_eq!(freeze.holds_until(to, &zone), None);
    }

    #[test]
    fn a_weekend_is_one_in_the_policys_zone_and_knows_daylight_saving() {
        let freeze = weekly("Fri 18:00", "Mon 06:00");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // Winter, +01:00.
        assert_eq!(freeze.holds_until(at("2026-01-09T16:59:59Z"), &berlin), None);
        let monday = at("2026-01-12T05:00:00Z");
        assert_eq!(freeze.holds_until(at("2026-01-09T17:00:00Z"), &berlin), Some(monday));
        assert_eq!(freeze.holds_until(monday, &berlin), None);
        // The clocks go forward on Sunday, 29 March.
        let after = at("2026-03-30T04:00:00Z");
        assert_eq!(freeze.holds_until(at("2026-03-28T12:00:00Z"), &berlin), Some(after));
        assert_eq!(freeze.holds_until(at("2026-03-28T12:00:00Z"), &TimeZone::UTC), Some(at("2026-03-30T06:00:00Z")));
    }

    #[test]
    fn hours_within_a_day_do_not_run_over_the_week() {
        let freeze = weekly("Wed 12:00", "Wed 13:30");
        let zone = TimeZone::UTC;
        assert_eq!(freeze.holds_until(at("2026-01-07T12:30:00Z"), &zone), Some(at("2026-01-07T13:30:00Z")));
        assert_eq!(freeze.holds_until(at("2026-01-07T13:30:00Z"), &zone), None);
        assert_eq!(freeze.holds_until(at("2026-01-08T12:30:00Z"), &zone), None);
    }

    #[test]
    fn only_a_day_and_a_time_of_day_are_a_weekly_moment() {
        assert_eq!(Weekly::parse("fri 18:00"), Some(Weekly { day: 5, minute: 1080 }));
        for wrong in ["Friday 18:00", "Fri 24:00", "Fri 6:00", "Fri", "18:00", "Fri 18:60", "Fri 18.00"] {
            assert_eq!(Weekly::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_window_whose_beginning_is_left_out_in_spring_does_not_freeze_the_whole_week_before() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let freeze = weekly("Sun 02:30", "Sun 03:00");
        // Wednesday noon before the clocks go forward on Sunday, 29 March 2026.
        assert_eq!(freeze.holds_until(at("2026-03-18T11:00:00Z"), &berlin), None);
        assert_eq!(freeze.holds_until(at("2026-03-25T11:00:00Z"), &berlin), None);
    }

    /// The clocks go back at three on Sunday, 25 October 2026; a quarter past two comes twice.
    #[test]
    fn a_window_that_ends_in_the_hour_that_comes_twice_holds_until_that_time_is_over() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let freeze = weekly("Sat 18:00", "Sun 02:30");
        assert!(freeze.holds_until(at("2026-10-25T00:15:00Z"), &berlin).is_some(), "02:15, the first time");
        assert!(freeze.holds_until(at("2026-10-25T01:15:00Z"), &berlin).is_some(), "02:15, the second time");
    }
}
