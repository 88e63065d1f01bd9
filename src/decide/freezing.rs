//! Freezes are announced, in the default channel, when they begin and when they end.
//!
//! What the state holds is what people were told, so that a start, a reload or a clock that was stepped repeats nothing and
//! loses nothing. Whether a freeze holds, the guard asks for itself.

use super::{Decided, Decider, state::WatchedFreeze};
use crate::model::{event::Event, freeze::Freeze};

impl Decider<'_> {
    /// Compares the rules' freezes with what people were told.
    pub(super) fn watch_freezes(&mut self) -> Decided {
        let policy = self.policy;
        let gone: Vec<String> =
            self.state.freezes.keys().filter(|name| policy.freeze(name).is_none()).cloned().collect();
        for name in gone {
            self.forget_freeze(&name)?;
        }
        policy.spec.freezes.iter().try_for_each(|freeze| self.watch(freeze))
    }

    pub(super) fn freeze_due(&mut self, name: &str) -> Decided {
        match self.policy.freeze(name) {
            Some(freeze) => self.watch(freeze),
            None => self.forget_freeze(name),
        }
    }

    /// The rules name it no more.
    fn forget_freeze(&mut self, name: &str) -> Decided {
        let was_on = self.state.freezes.get(name).is_some_and(|told| told.on);
        self.emit(Event::FreezeForgotten { name: name.to_owned() })?;
        if was_on { self.say_it_is_over(name) } else { Ok(()) }
    }

    fn say_it_is_over(&mut self, name: &str) -> Decided {
        let zone = &self.policy.zone;
        let others = self.policy.spec.freezes.iter().filter(|other| other.name != *name);
        let holds = others.filter_map(|other| Some((other.holds_until(self.now, zone)?, &other.name))).max();
        let goes_on = holds.map(|(until, other)| format!("; freeze {other} holds until {}", until.in_zone(zone)));
        self.tell_all(format!("Freeze {name} is over{}.", goes_on.unwrap_or_default()))
    }

    fn watch(&mut self, freeze: &Freeze) -> Decided {
        let zone = &self.policy.zone;
        let until = freeze.holds_until(self.now, zone);
        let now = WatchedFreeze { on: until.is_some(), look_at: until.or_else(|| freeze.next_start(self.now, zone)) };
        let told = self.state.freezes.get(&freeze.name);
        if told == Some(&now) {
            return Ok(());
        }
        let was_on = told.is_some_and(|told| told.on);
        self.emit(Event::FreezeWatched { name: freeze.name.clone(), on: now.on, look_at: now.look_at })?;
        let name = &freeze.name;
        match (was_on, until) {
            (false, Some(until)) => {
                let except = match freeze.except.as_slice() {
                    [] => String::new(),
                    some => format!(" but for {}", some.join(", ")),
                };
                let until = until.in_zone(zone);
                self.tell_all(format!(
                    "Freeze {name} is on until {until}: nothing new acts{except}. People are told and woken as ever."
                ))
            }
            (true, None) => self.say_it_is_over(name),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }
}
