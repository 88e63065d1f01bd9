//! The earliest due timer, handled alone: each removes or moves it, or the engine would spin.

use super::{Decided, Decider, state::Timer};
use crate::model::{event::Event, reason::Reason};

impl Decider<'_> {
    pub(super) fn wake(&mut self) -> Decided {
        let Some((at, timer)) = self.state.timers.first().cloned() else { return Ok(()) };
        if at > self.now {
            return Ok(());
        }
        match timer {
            Timer::SettleOver => self.emit(Event::Settled),
            Timer::Resume(step) => self.emit(Event::StepResumed { step }),
            Timer::ApprovalEnds(step) => self.drop_step(step, Reason::ApprovalExpired),
            Timer::PerformBy(step) => {
                self.touched.insert(step.incident);
                self.emit(Event::ReadBackBegan { step })
            }
            Timer::VerifyBy(step) => self.emit(Event::MeasureAsked { step }),
            Timer::LeaseEnds(lease) => self.lease_due(&lease),
            Timer::Quiet(incident) => self.quiet_over(incident),
            Timer::Confirm(fingerprint) => self.emit(Event::ConfirmAsked { fingerprint }),
            Timer::ForgetAlert(fingerprint) => self.forget_alert(&fingerprint),
            Timer::ForgetIncident(incident) => self.forget_incident(incident),
            Timer::Brake(set) => self.brake_due(&set),
            Timer::Steady => self.emit(Event::Steady),
            Timer::Escalate(incident) => self.escalation_due(incident),
            Timer::Update(incident) => self.update_due(incident),
            Timer::Postmortem(incident) => self.remind_of_the_postmortem(incident),
            Timer::Freeze(name) => self.freeze_due(&name),
        }
    }
}
