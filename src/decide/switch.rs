//! Switches of the whole: start and settling, pause and resume, a policy that changed, a clock that stepped.

use super::{Decided, Decider, apply::STEADY_AFTER};
use crate::model::{
    event::Event,
    id::{IncidentId, StepId},
    letter::{LetterKey, Receiver, Told},
    mode::Mode,
    reason::Reason,
    step::{Answer, Phase},
    time::Span,
};

impl Decider<'_> {
    pub(super) fn started(&mut self, replica: &str, policy: &str, clean: bool, damage: Option<&str>) -> Decided {
        let fresh = self.state.epoch == 0;
        let most = self.policy.spec.unclean_starts;
        let unclean = (most > 0).then(|| if clean { 0 } else { self.state.unclean_starts.saturating_add(1) });
        self.emit(Event::Started { replica: replica.to_owned(), unclean })?;
        if let Some(damage) = damage {
            self.pause("nightshift", format!("the journal is damaged: {damage}"))?;
        }
        if let Some(unclean) = unclean.filter(|unclean| *unclean >= most && self.state.paused.is_none()) {
            self.safe_mode(unclean)?;
        }
        if !fresh {
            self.settle()?;
            self.end_missed_windows()?;
        }
        self.policy_loaded(policy)?;
        self.watch_freezes()
    }

    /// A crash loop: whatever it is that ends this process, it does not act between two crashes.
    fn safe_mode(&mut self, unclean: u32) -> Decided {
        let why = format!("{unclean} starts without a clean stop, and less than {STEADY_AFTER} between them");
        self.pause("nightshift", why.clone())?;
        let mentions = self.policy.spec.severities.first().map(|most| most.mentions.clone()).unwrap_or_default();
        self.page_all(format!("nightshift only observes: {why}. Find out why, then: nightshift resume"), mentions)
    }

    fn settle(&mut self) -> Decided {
        let settle = self.policy.spec.settle_after_start;
        if settle > Span::ZERO { self.emit(Event::Settling { until: self.now + settle }) } else { Ok(()) }
    }

    /// A verification whose window passed while nobody was here can't say "did not help".
    fn end_missed_windows(&mut self) -> Decided {
        let verifying: Vec<StepId> =
            self.state.live.get(&Phase::Verifying).into_iter().flatten().map(|(_, step)| *step).collect();
        for step in verifying {
            let missed = self.state.steps.get(&step).and_then(|step| step.verify_by).is_some_and(|by| by <= self.now);
            if missed {
                let why = "its window passed while nightshift was not running".to_owned();
                self.verified(step, Answer::Inconclusive { why })?;
            }
        }
        Ok(())
    }

    pub(super) fn clock_stepped(&mut self, by: Span) -> Decided {
        self.emit(Event::ClockStepped { by })?;
        self.watch_freezes()?;
        self.settle()
    }

    /// Rules were loaded: a live ladder whose rule or target changed, or whose mode was lowered, goes to people.
    pub(super) fn policy_loaded(&mut self, policy: &str) -> Decided {
        if self.state.policy == policy {
            return Ok(());
        }
        self.emit(Event::PolicyChanged { policy: policy.to_owned() })?;
        let live: Vec<IncidentId> =
            self.state.incidents.iter().filter(|(_, incident)| incident.has_live_ladder()).map(|(id, _)| *id).collect();
        for id in live {
            if let Some(reason) = self.policy_took_away(id) {
                self.stop_ladder(id, reason)?;
            }
        }
        self.watch_freezes()
    }

    fn policy_took_away(&self, id: IncidentId) -> Option<Reason> {
        let incident = self.state.incidents.get(&id)?;
        let ladder = incident.ladder.as_ref()?;
        let Some(rule) = self.policy.rule(&incident.rule) else { return Some(Reason::RulesChanged) };
        if self.policy.rule_hash(&incident.rule) != Some(ladder.rule_hash.as_str()) {
            return Some(Reason::RulesChanged);
        }
        let mode_of = |place: usize| {
            let rung = rule.remediate.get(place).and_then(|rung| rung.mode).unwrap_or(Mode::Auto);
            self.policy.spec.mode.min(rule.mode).min(rung)
        };
        let lowered = ladder.rungs.iter().enumerate().any(|(place, rung)| mode_of(place) < rung.mode);
        lowered.then_some(Reason::ModeLowered)
    }

    pub(super) fn pause(&mut self, by: &str, reason: String) -> Decided {
        if self.state.paused.is_some() {
            return self.refuse("it is paused already".into());
        }
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.emit(Event::Paused { by: by.to_owned(), reason: reason.clone() })?;
        self.tell_all(format!("{by} paused nightshift{words}. Nothing acts until somebody resumes it."))?;
        let why = Reason::Paused { by: by.to_owned(), why: reason };
        let waiting: Vec<StepId> = self.state.live_steps().collect();
        let mut incidents = Vec::new();
        for id in waiting {
            let Some(step) = self.state.steps.get(&id) else { continue };
            if step.phase.is_started() || step.purpose.is_by_person() {
                continue;
            }
            if step.purpose.is_fix() {
                if step.rung.mode != Mode::Shadow {
                    incidents.push(id.incident);
                }
            } else if step.phase == Phase::Observing {
                self.hold(id, None, why.clone())?;
            }
        }
        for incident in incidents {
            self.stop_ladder(incident, why.clone())?;
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, by: &str, pause_file_present: bool) -> Decided {
        if self.state.paused.is_none() {
            return self.refuse("it is not paused".into());
        }
        if pause_file_present {
            return self.refuse("the pause file is still there: remove it first".into());
        }
        self.emit(Event::Resumed { by: by.to_owned() })?;
        self.tell_all(format!("{by} resumed nightshift. What waited meanwhile was dropped."))?;
        let holding: Vec<StepId> =
            self.state.live.get(&Phase::Holding).into_iter().flatten().map(|(_, step)| *step).collect();
        for step in holding {
            let paused = self.state.steps.get(&step).and_then(|step| step.held_for.as_ref());
            if matches!(paused, Some(Reason::Paused { .. })) {
                self.emit(Event::StepResumed { step })?;
            }
        }
        Ok(())
    }

    pub(super) fn told(&mut self, letter: &LetterKey, up_to: u64, result: &Told) -> Decided {
        // An incident is kept while a letter is owed; an answer for one that is gone changes nothing.
        if !self.state.letters.contains_key(letter) {
            return Ok(());
        }
        if let Receiver::Statuspage { component } = &letter.receiver {
            return self.status_told(letter, component, up_to, result);
        }
        match result {
            Told::Sent { external } => {
                // A channel that is there now is shown on the incident's card.
                if self.makes_a_channel(letter).is_some() && external.is_some() {
                    self.touched.insert(letter.incident);
                }
                self.emit(Event::LetterTold { letter: letter.clone(), up_to, external: external.clone() })
            }
            Told::Failed { reason } => {
                let channel = self.makes_a_channel(letter).map(str::to_owned);
                self.emit(Event::LetterFailed { letter: letter.clone(), reason: reason.clone() })?;
                if let Some(name) = channel {
                    return self.channel_was_refused(letter.incident, &name, reason);
                }
                self.page_was_refused(letter, reason, "")
            }
            Told::Waits { reason } => self.waits_to_be_set_right(letter, reason),
        }
    }

    /// People hear of it once, and through what else there is; whoever asks, for as long as it is so.
    fn waits_to_be_set_right(&mut self, letter: &LetterKey, reason: &str) -> Decided {
        let known =
            self.state.letters.get(letter).is_none_or(|known| known.refused.is_some() || known.told >= known.want);
        if known {
            return Ok(());
        }
        self.emit(Event::LetterWaits { letter: letter.clone(), reason: reason.to_owned() })?;
        self.page_was_refused(letter, reason, " It is sent once that is set right.")
    }

    pub(super) fn poisoned(&mut self, digest: &str, message: &str) -> Decided {
        self.emit(Event::Poisoned { digest: digest.to_owned(), message: message.to_owned() })?;
        let mentions = self.policy.spec.severities.first().map(|most| most.mentions.clone()).unwrap_or_default();
        let reason = Reason::CallFailed { why: "an input could not be decided: see the journal".into() };
        self.emit(Event::PageReleased { incident: IncidentId::ITSELF, reason, mentions: mentions.clone() })?;
        let text = format!("Page: nightshift could not decide an input and set it aside ({digest}): {message}");
        self.page_all(text, mentions)
    }
}
