//! `State::apply`: the only way the state changes. Reads the input for its bulk, never the rules.

use super::{
    brake::set_of,
    escalation::Call,
    packed::Packed,
    records::Disarm,
    state::{
        AlertState, Bar, Held, Illegal, Incident, IncidentPhase, Ladder, Lease, Letter, Lock, PauseView, Publication,
        State, Step, Timer, WatchedFreeze, Woken, same_start,
    },
    step::may_last,
};
use crate::model::{
    alert::{Alert, HOLD_LABEL, Source, asks_to_hold},
    event::{Event, HowResolved, Spared},
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId, StepId},
    input::{Gathered, Input, Via},
    letter::{Receiver, Slot},
    page::dedup_key,
    reason::Reason,
    step::{self, Answer, Phase, Purpose},
    target::TargetKey,
    time::{Micros, Span},
    view::EvidenceView,
};
use std::collections::{BTreeSet, VecDeque};

/// Starts older than this count against no limit: rules files may not ask for a longer window.
pub const LONGEST_LIMIT_WINDOW: Span = Span::hours(31 * 24);
/// A process that has run for so long did not crash at its start.
pub const STEADY_AFTER: Span = Span::minutes(5);
/// Pieces of evidence that one incident lists; the journal has them all.
const EVIDENCE_LISTED: usize = 50;

impl State {
    /// Records one event of one entry made at `at`. An `Err` leaves the state as it was or unusable: fold anew.
    pub fn apply(&mut self, at: Micros, input: &Input, event: &Event) -> Result<(), Illegal> {
        if let Some(id) = event.step()
            && !matches!(event, Event::StepPlanned { .. })
        {
            self.move_step(id, event)?;
        }
        match event {
            Event::AlertFired { rule, doubtful, confirm_at } => {
                self.alert_fired(at, alert_of(input, event)?, rule.clone(), *doubtful, *confirm_at);
            }
            Event::AlertResolved { forget_at } => {
                let alert = alert_of(input, event)?;
                let print = alert.fingerprint.clone();
                self.set_held(at, &print, Held::Resolved, event)?;
                if let Some(held) = self.alerts.get_mut(&print) {
                    held.ends_at = alert.ends_at;
                    if let Some(incident) = held.incident.and_then(|incident| self.incidents.get_mut(&incident)) {
                        incident.last_end = incident.last_end.max(alert.ends_at);
                    }
                }
                self.is_asked_about_no_more(&print);
                self.clear_timer(&Timer::Confirm(print.clone()));
                self.set_timer(Timer::ForgetAlert(print), *forget_at);
            }
            Event::AlertStale | Event::CommandRefused { .. } | Event::PolicyKept { .. } | Event::Stopped => {}
            Event::Clicked { once, until } => {
                self.clicks.retain(|_, until| *until >= at);
                self.clicks.insert(once.clone(), *until);
            }
            Event::Poisoned { .. } => self.drop_poisoned_timer(input),
            Event::ClockStepped { by } => self.clock_stepped(*by),
            Event::ConfirmAsked { fingerprint } => {
                self.clear_timer(&Timer::Confirm(fingerprint.clone()));
                self.is_asked_about(std::slice::from_ref(fingerprint));
            }
            Event::AlertConfirmed { fingerprint, confirm_at, silenced } => {
                self.is_asked_about_no_more(fingerprint);
                self.set_timer(Timer::Confirm(fingerprint.clone()), *confirm_at);
                let alert = self.alerts.get_mut(fingerprint);
                if let (Some(alert), Some(silenced)) = (alert, silenced) {
                    alert.silenced = *silenced;
                    let incident = alert.incident.filter(|_| !*silenced && alert.held == Held::Firing);
                    if let Some(incident) = incident {
                        self.escalation_goes_on(incident, at);
                    }
                }
            }
            Event::AlertLost { fingerprint, forget_at } => {
                self.set_held(at, fingerprint, Held::Lost, event)?;
                self.is_asked_about_no_more(fingerprint);
                self.clear_timer(&Timer::Confirm(fingerprint.clone()));
                self.set_timer(Timer::ForgetAlert(fingerprint.clone()), *forget_at);
            }
            Event::AlertForgotten { fingerprint } => self.alert_forgotten(fingerprint),

            Event::IncidentOpened {
                incident,
                rule,
                key,
                severity,
                rank,
                title,
                service,
                runbook,
                quiet,
                receiver,
                mentions,
                parent,
                impact,
                security,
            } => {
                self.last_incident = incident.0;
                match (parent.and_then(|parent| self.incidents.get_mut(&parent)), service) {
                    (Some(parent), _) => {
                        parent.children.insert(*incident);
                    }
                    (None, Some(service)) => {
                        self.roots.insert(service.clone(), *incident);
                    }
                    (None, None) => {}
                }
                self.records.fires(rule, key, at);
                self.open.insert((rule.clone(), key.clone()), *incident);
                let opened = Incident {
                    rule: rule.clone(),
                    key: key.clone(),
                    severity: severity.clone(),
                    rank: *rank,
                    title: title.clone(),
                    service: service.clone(),
                    runbook: runbook.clone(),
                    quiet: *quiet,
                    receiver: receiver.clone(),
                    mentions: mentions.clone(),
                    phase: IncidentPhase::Open,
                    opened_at: at,
                    quiet_until: None,
                    resolved_at: None,
                    resolved_by: None,
                    acknowledged_by: None,
                    acknowledged_at: None,
                    handed_to: None,
                    lost_contact: false,
                    alerts: BTreeSet::new(),
                    firing: 0,
                    resolved: 0,
                    lost: 0,
                    folded_into: None,
                    fires_elsewhere: false,
                    last_end: None,
                    ladder: None,
                    next_rung: 0,
                    steps: 0,
                    evidence: Vec::new(),
                    pages: 0,
                    calls: VecDeque::new(),
                    woken: Woken::No,
                    asks_to_hold: false,
                    impact: impact.clone(),
                    security: security.clone(),
                    parent: *parent,
                    children: BTreeSet::new(),
                    holder: None,
                    paged_at: None,
                    escalation: None,
                    channel: None,
                    channel_refused: false,
                    postmortem_due: None,
                };
                self.incidents.insert(*incident, opened);
            }
            Event::AlertJoined { incident, fingerprint } => self.alert_joined(at, *incident, fingerprint, event)?,
            Event::SeverityChanged { incident, severity, rank } => {
                let incident = self.incident_mut(*incident, event)?;
                incident.severity.clone_from(severity);
                incident.rank = *rank;
            }
            Event::IncidentAcknowledged { incident, by } => {
                let holder = match input {
                    Input::Command { via: Via::Slack(person), .. } => Some(person.user.clone()),
                    _ => None,
                };
                let changed = self.incident_mut(*incident, event)?;
                (changed.acknowledged_by, changed.holder) = (Some(by.clone()), holder);
                (changed.acknowledged_at, changed.handed_to) = (Some(at), Some(by.clone()));
                self.end_escalation(*incident);
                self.peers.has_it(*incident, input);
            }
            Event::AcknowledgeVoided { incident } => {
                let changed = self.incident_mut(*incident, event)?;
                (changed.acknowledged_by, changed.holder) = (None, None);
                changed.acknowledged_at = None;
            }
            Event::IncidentMonitoring { incident, until } => {
                let changed = self.incident_mut(*incident, event)?;
                changed.phase = IncidentPhase::Monitoring;
                changed.quiet_until = Some(*until);
                // What was lost of it is heard to be over.
                changed.lost_contact = false;
                self.set_timer(Timer::Quiet(*incident), *until);
            }
            Event::IncidentWaits { incident } => {
                self.incident_mut(*incident, event)?.quiet_until = None;
                self.clear_timer(&Timer::Quiet(*incident));
            }
            Event::EscalationBegan { .. }
            | Event::EscalationAsked { .. }
            | Event::Escalated { .. }
            | Event::EscalationSilenced { .. }
            | Event::EscalationEnded { .. } => self.apply_escalation(at, event)?,
            Event::UpdatesBegan { incident, at } => self.set_timer(Timer::Update(*incident), *at),
            Event::UpdateDue { incident, next_at } => match next_at {
                Some(next_at) => self.set_timer(Timer::Update(*incident), *next_at),
                None => self.clear_timer(&Timer::Update(*incident)),
            },
            Event::ChannelOpened { incident, name } => {
                self.incident_mut(*incident, event)?.channel = Some(name.clone());
            }
            Event::PostmortemDue { incident, due, remind_at } => {
                self.incident_mut(*incident, event)?.postmortem_due = Some(*due);
                self.set_timer(Timer::Postmortem(*incident), *remind_at);
            }
            Event::PostmortemReminded { incident } => self.clear_timer(&Timer::Postmortem(*incident)),
            Event::FreezeWatched { name, on, look_at } => {
                let timer = Timer::Freeze(name.clone());
                match look_at {
                    Some(look_at) => self.set_timer(timer, *look_at),
                    None => self.clear_timer(&timer),
                }
                self.freezes.insert(name.clone(), WatchedFreeze { on: *on, look_at: *look_at });
            }
            Event::FreezeForgotten { name } => {
                self.freezes.remove(name);
                self.clear_timer(&Timer::Freeze(name.clone()));
            }
            Event::IncidentReopened { incident } => {
                let changed = self.incident_mut(*incident, event)?;
                changed.phase = IncidentPhase::Open;
                changed.quiet_until = None;
                // A page that is still held is for this too.
                if changed.woken == Woken::Yes {
                    changed.woken = Woken::No;
                }
                let (rule, key) = (changed.rule.clone(), changed.key.clone());
                self.records.fires(&rule, &key, at);
                self.clear_timer(&Timer::Quiet(*incident));
            }
            Event::IncidentLostContact { incident } => self.incident_mut(*incident, event)?.lost_contact = true,
            Event::IncidentResolved { incident, how, forget_at } => {
                self.incident_resolved(at, *incident, how, event)?;
                self.set_timer(Timer::ForgetIncident(*incident), *forget_at);
            }
            Event::IncidentKept { incident, forget_at } => {
                self.set_timer(Timer::ForgetIncident(*incident), *forget_at);
            }
            Event::IncidentForgotten { incident } => self.incident_forgotten(at, *incident),
            Event::EvidenceWanted { incident, collectors } => {
                let wanted = collectors.iter().map(|collector| (*incident, collector.clone()));
                self.evidence_wanted.extend(wanted);
                self.work_version += 1;
            }
            Event::EvidenceGathered { incident } => self.evidence_gathered(at, *incident, input, event)?,

            Event::LadderBegan { incident, rungs, first, rule_hash, fires_for, cooldown, undo_within } => {
                self.fleet.alarm(rungs, *incident, at);
                let changed = self.incident_mut(*incident, event)?;
                changed.next_rung = *first;
                changed.ladder = Some(Ladder {
                    rungs: rungs.clone(),
                    rule_hash: rule_hash.clone(),
                    fires_for: *fires_for,
                    cooldown: *cooldown,
                    undo_within: *undo_within,
                    started: BTreeSet::new(),
                    ended: None,
                });
            }
            Event::LadderEnded { incident, how, cooldowns } => {
                let changed = self.incident_mut(*incident, event)?;
                let ladder = changed.ladder.as_mut().ok_or_else(|| illegal(event, "no ladder has begun"))?;
                ladder.ended = Some(how.clone());
                for cooldown in cooldowns {
                    let key = (cooldown.rule.clone(), cooldown.target.clone(), cooldown.shadow);
                    self.cooldowns.insert(key, cooldown.until);
                }
                self.cooldowns.retain(|_, until| *until > at);
                self.free_locks(*incident);
            }

            Event::StepPlanned { step, purpose, rung_number, rung, try_number } => {
                let incident = self.incident_mut(step.incident, event)?;
                incident.steps = step.number;
                let rank = incident.rank;
                if let Purpose::Undo { step: undone, .. } = purpose
                    && let Some(undone) = self.steps.get_mut(undone)
                {
                    undone.undone_by = Some(*step);
                }
                if matches!(purpose, Purpose::Undo { by: None, .. }) {
                    // Nobody gets in between what is put back and its being put back, though its ladder is over.
                    let lock = Lock { incident: step.incident, unknown: false };
                    self.locks.entry(rung.target.key()).or_insert(lock);
                }
                self.steps.insert(*step, Step::planned(at, purpose, rank, *rung_number, rung, *try_number));
                self.live.entry(Phase::Observing).or_default().insert((rank, *step));
                self.work_version += 1;
            }
            Event::StepJudged { step, trace, plan, scopes, .. } => {
                self.learn_of_target(*step, input);
                self.learn_of_silences(input);
                let judged = self.step_mut(*step, event)?;
                judged.trace.clone_from(trace);
                if let Some(plan) = plan {
                    judged.plan = Some((**plan).clone());
                }
                self.count_start(at, scopes);
            }
            Event::StepHeld { step, until, reason } => {
                let held = self.step_mut(*step, event)?;
                held.held_for = Some(reason.clone());
                held.held_until = *until;
                held.held_long |= may_last(reason, *step);
                if is_doubt(reason) {
                    held.doubts += 1;
                }
                let rank = held.rank;
                match until {
                    Some(until) => self.set_timer(Timer::Resume(*step), *until),
                    None => {
                        self.waiting.insert((rank, *step));
                    }
                }
            }
            Event::StepResumed { step } => self.clear_timer(&Timer::Resume(*step)),
            Event::StepDropped { step, reason } | Event::StepFailed { step, reason } => {
                let over = self.step_mut(*step, event)?;
                over.reason = Some(reason.clone());
                over.ended_at = Some(at);
                self.clear_timers_of(*step);
                self.free_locks(step.incident);
                // What somebody else changed in between was not tried.
                let was_tried = !matches!(reason, Reason::ChangedSince { .. });
                if matches!(event, Event::StepFailed { .. }) && was_tried {
                    self.record(*step, true);
                }
            }
            Event::ApprovalAsked { step, plan, until } => {
                let asking = self.step_mut(*step, event)?;
                asking.plan = Some((**plan).clone());
                asking.approval_until = Some(*until);
                self.set_timer(Timer::ApprovalEnds(*step), *until);
            }
            Event::Approved { step, by } => {
                let approved = self.step_mut(*step, event)?;
                approved.approved_by = Some(by.clone());
                approved.approver = match input {
                    Input::Command { via: Via::Slack(person), .. } => Some(person.clone()),
                    _ => None,
                };
                self.clear_timer(&Timer::ApprovalEnds(*step));
            }
            Event::ApprovalVoided { step, .. } => {
                let voided = self.step_mut(*step, event)?;
                (voided.approved_by, voided.approver) = (None, None);
                self.clear_timer(&Timer::ApprovalEnds(*step));
            }
            Event::StepStarted { step, plan, perform_by, before, scopes } => {
                let epoch = self.epoch;
                let started = self.step_mut(*step, event)?;
                started.plan = Some((**plan).clone());
                started.perform_by = Some(*perform_by);
                started.before = Some((**before).clone());
                started.started_at = Some(at);
                started.epoch = epoch;
                let (rung, is_fix) = (started.rung_number, started.purpose.is_fix());
                let target = plan.target.key();
                for key in plan.target.locks() {
                    self.locks.entry(key).or_insert(Lock { incident: step.incident, unknown: false });
                }
                let incident = self.incident_mut(step.incident, event)?;
                if is_fix {
                    incident.next_rung = incident.next_rung.max(rung + 1);
                    if let Some(ladder) = &mut incident.ladder {
                        ladder.started.insert(target);
                    }
                }
                self.count_start(at, scopes);
                self.set_timer(Timer::PerformBy(*step), *perform_by + READ_BACK_SLACK);
            }
            Event::StepOutcomeLost { step, .. } => self.step_mut(*step, event)?.outcome_lost = true,
            Event::ReadBackBegan { step } => self.clear_timer(&Timer::PerformBy(*step)),
            Event::StepApplied { step, measure_from, verify_by, ended } => {
                let applied = self.step_mut(*step, event)?;
                applied.applied_at = Some(at);
                applied.ended.clone_from(ended);
                applied.measure_from = Some(*measure_from);
                applied.verify_by = Some(*verify_by);
                self.clear_timer(&Timer::PerformBy(*step));
                self.set_timer(Timer::VerifyBy(*step), *verify_by);
                self.count_run(*step);
            }
            Event::StepUnknown { step, why } => {
                let over = self.step_mut(*step, event)?;
                over.reason = Some(Reason::OutcomeUnknown { why: why.clone() });
                over.ended_at = Some(at);
                let keys = over.rung.target.locks();
                self.clear_timers_of(*step);
                for key in &keys {
                    if let Some(lock) = self.locks.get_mut(key).filter(|lock| lock.incident == step.incident) {
                        lock.unknown = true;
                    }
                }
                self.record(*step, true);
                self.count_run(*step);
            }
            Event::MeasureAsked { step } => {
                self.step_mut(*step, event)?.last_measurement = true;
                self.clear_timer(&Timer::VerifyBy(*step));
            }
            Event::StepVerified { step, answer } => {
                let over = self.step_mut(*step, event)?;
                over.answer = Some(answer.clone());
                over.ended_at = Some(at);
                let plan = over.plan.as_ref().filter(|_| over.purpose.is_fix());
                let runs = plan.and_then(|plan| plan.proposal.effect.runs.clone());
                let target = over.rung.target.key();
                self.clear_timers_of(*step);
                self.free_locks(step.incident);
                match answer {
                    Answer::Helped => {
                        self.record(*step, false);
                        if let Some(runs) = runs {
                            self.records.verified(&target, &runs);
                        }
                    }
                    Answer::DidNot | Answer::Broke { .. } => self.record(*step, true),
                    Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => {}
                }
            }

            Event::LeaseBegan { lease, step, baseline, value, until } => {
                let begun = Lease {
                    step: *step,
                    baseline: baseline.clone(),
                    value: value.clone(),
                    until: *until,
                    extended: 0,
                    ending: false,
                };
                self.leases.insert(lease.clone(), begun);
                self.set_timer(Timer::LeaseEnds(lease.clone()), *until);
            }
            Event::LeaseExtended { lease, until, times, .. } => {
                let extended = self.leases.get_mut(lease).ok_or_else(|| illegal(event, "no such lease"))?;
                extended.until = *until;
                extended.extended = *times;
                self.set_timer(Timer::LeaseEnds(lease.clone()), *until);
            }
            Event::LeaseEnding { lease } => {
                self.leases.get_mut(lease).ok_or_else(|| illegal(event, "no such lease"))?.ending = true;
                self.clear_timer(&Timer::LeaseEnds(lease.clone()));
            }
            Event::LeaseEnded { lease, .. } => {
                self.leases.remove(lease).ok_or_else(|| illegal(event, "no such lease"))?;
                self.clear_timer(&Timer::LeaseEnds(lease.clone()));
            }

            Event::Settling { until } => {
                self.settling_until = Some(*until);
                self.set_timer(Timer::SettleOver, *until);
            }
            Event::Settled => {
                self.settling_until = None;
                self.clear_timer(&Timer::SettleOver);
            }
            Event::Paused { by, reason } => {
                self.paused = Some(PauseView { by: by.clone(), reason: reason.clone(), since: at });
            }
            Event::Resumed { .. } => self.paused = None,
            Event::Barred { incident, rule, target, by } => {
                let bars = self.barred.entry((rule.clone(), target.clone())).or_default();
                if bars.iter().all(|bar| bar.incident != *incident) {
                    bars.push(Bar { incident: *incident, by: by.clone() });
                }
            }
            Event::Disarmed { rule, target, failures, of, .. } => {
                self.records.disarm(rule, target.as_ref(), Disarm { failures: *failures, of: *of });
            }
            Event::Braked { set, incident, targets, look_at } => {
                self.fleet.brake(set.clone(), *incident, *targets);
                self.set_timer(Timer::Brake(set.clone()), *look_at);
            }
            Event::BrakeKept { set, calm_since, look_at } => {
                self.fleet.keep(set, *calm_since);
                self.set_timer(Timer::Brake(set.clone()), *look_at);
            }
            Event::BrakeReleased { set } => {
                self.fleet.release(set);
                self.clear_timer(&Timer::Brake(set.clone()));
            }
            Event::IncidentFolded { incident, into } => {
                self.incident_mut(*incident, event)?.folded_into = Some(*into);
                self.fleet.fold(*into);
            }
            Event::Rearmed { rule, targets, whole, .. } => {
                self.records.rearm(rule, targets, *whole);
                for target in targets {
                    self.barred.remove(&(rule.clone(), target.clone()));
                    // With it go the other parts of what the same step held.
                    if let Some(lock) = self.locks.get(target).filter(|lock| lock.unknown).cloned() {
                        self.locks.retain(|_, other| *other != lock);
                    }
                }
            }
            Event::PolicyChanged { policy } => self.policy.clone_from(policy),
            Event::Steady => {
                self.unclean_starts = 0;
                self.clear_timer(&Timer::Steady);
            }
            Event::Started { replica, unclean } => {
                if self.identity.is_empty() {
                    self.identity = format!("{replica} {}", at.0);
                }
                self.unclean_starts = unclean.unwrap_or_default();
                self.clear_timer(&Timer::Steady);
                if self.unclean_starts > 0 {
                    self.set_timer(Timer::Steady, at + STEADY_AFTER);
                }
                self.epoch += 1;
                self.leads_since = at;
                self.work_version += 1;
            }

            Event::PageHeld { incident, until } => {
                self.incident_mut(*incident, event)?.woken = Woken::Held { until: *until };
                self.set_timer(Timer::HoldEnds(*incident), *until);
            }
            Event::PageSpared { incident, how } => {
                let woken = if matches!(how, Spared::Storm { .. }) { Woken::Yes } else { Woken::No };
                self.incident_mut(*incident, event)?.woken = woken;
                self.clear_timer(&Timer::HoldEnds(*incident));
            }
            Event::PageReleased { incident, .. } => {
                if *incident != IncidentId::ITSELF {
                    let paged = self.incident_mut(*incident, event)?;
                    paged.pages += 1;
                    paged.woken = Woken::Yes;
                    paged.called(Call { at, level: None });
                    self.clear_timer(&Timer::HoldEnds(*incident));
                }
            }
            Event::PeerHeard { .. }
            | Event::PeerAsked { .. }
            | Event::PeerWaits { .. }
            | Event::PeerAnswered { .. }
            | Event::PeerJoined { .. }
            | Event::PageSeen { .. } => self.peer_event(at, input, event)?,
            Event::PageOwed { .. } => self.page_owed(at, event),
            Event::PageWanted { incident, page, state } => self.page_wanted(*incident, *page, *state, event)?,
            Event::Tell { letter, note } => {
                self.last_wish += 1;
                let wish = self.last_wish;
                if let Slot::Post(number) = letter.slot {
                    self.last_post = self.last_post.max(number);
                }
                let owed = self.letters.entry(letter.clone()).or_insert(Letter {
                    want: 0,
                    wanted_at: at,
                    told: 0,
                    note: None,
                    external: None,
                    refused: None,
                });
                if owed.told == owed.want {
                    owed.wanted_at = at;
                }
                owed.want = wish;
                owed.note.clone_from(note);
                if note.as_ref().is_some_and(|note| note.takes) {
                    self.peers.taken(letter.incident);
                }
                self.owed.insert(letter.clone());
                if letter.is_page() || note.as_ref().is_some_and(|note| note.page) {
                    self.pages_owed.insert(letter.clone());
                }
                self.letters_version += 1;
            }
            Event::LetterTold { letter, up_to, external } => {
                let owed = self.letters.get_mut(letter).ok_or_else(|| illegal(event, "no such letter"))?;
                owed.told = *up_to;
                owed.refused = None;
                if external.is_some() {
                    owed.external.clone_from(external);
                }
                self.settle_letter(letter);
                self.end_publication(letter);
            }
            Event::LetterWaits { letter, reason } => {
                let owed = self.letters.get_mut(letter).ok_or_else(|| illegal(event, "no such letter"))?;
                owed.refused = Some(reason.clone());
                self.letters_version += 1;
            }
            Event::LetterFailed { letter, .. } => {
                let owed = self.letters.get_mut(letter).ok_or_else(|| illegal(event, "no such letter"))?;
                owed.refused = None;
                // Only what was tried failed: what was wished for meanwhile is another text.
                owed.told = match input {
                    Input::Told { up_to, .. } => *up_to,
                    _ => owed.want,
                };
                let is_there = owed.external.is_some();
                if let (Receiver::IncidentChannel { .. }, Slot::Card, false) = (&letter.receiver, letter.slot, is_there)
                    && let Some(incident) = self.incidents.get_mut(&letter.incident)
                {
                    incident.channel = None;
                    incident.channel_refused = true;
                }
                self.settle_letter(letter);
                self.end_publication(letter);
            }

            Event::StatusDue { component, incident, joined, status, shows, waits } => {
                let due = Publication { status: *status, shows: *shows, ..Publication::begun(*incident, *waits) };
                self.status_due(component, due, *joined);
            }
            Event::StatusPublished { component, by, .. } => {
                let known = self.publications.get_mut(component);
                let known = known.ok_or_else(|| illegal(event, "nothing of it is to be published"))?;
                known.waits = false;
                known.published_by = Some(by.clone());
            }
        }
        Ok(())
    }

    /// The clock went forward without time having passed: what is measured from a moment before keeps its length. A call
    /// in flight would be read back before it lands, a verdict be given early, a blip be taken for an alert, a budget be
    /// full again. What people were told as a time of day (a lease's end, an approval's) stays that time.
    fn clock_stepped(&mut self, by: Span) {
        if by <= Span::ZERO {
            return;
        }
        let started = [Phase::Acting, Phase::Verifying].into_iter().filter_map(|phase| self.live.get(&phase));
        let started: Vec<StepId> = started.flatten().map(|(_, step)| *step).collect();
        for id in started {
            if let Some(step) = self.steps.get_mut(&id) {
                step.measure_from = step.measure_from.map(|from| from + by);
                step.verify_by = step.verify_by.map(|until| until + by);
            }
            for timer in [Timer::PerformBy(id), Timer::VerifyBy(id)] {
                if let Some(at) = self.due.get(&timer).copied() {
                    self.set_timer(timer, at + by);
                }
            }
        }
        for alert in self.alerts.values_mut() {
            alert.seen_at = alert.seen_at + by;
        }
        for starts in self.starts.values_mut() {
            starts.iter_mut().for_each(|start| *start = *start + by);
        }
        self.cooldowns.values_mut().for_each(|until| *until = *until + by);
        self.records.clock_stepped(by);
        self.escalations_stepped(by);
        self.fleet.clock_stepped(by);
        for incident in self.incidents.values_mut() {
            incident.quiet_until = incident.quiet_until.map(|until| until + by);
        }
        let counts = |timer: &Timer| {
            matches!(
                timer,
                Timer::Quiet(_)
                    | Timer::Confirm(_)
                    | Timer::Brake(_)
                    | Timer::Steady
                    | Timer::Resume(_)
                    | Timer::Escalate(_)
                    | Timer::Update(_)
            )
        };
        let counting: Vec<(Timer, Micros)> =
            self.due.iter().filter(|(timer, _)| counts(timer)).map(|(timer, at)| (timer.clone(), *at)).collect();
        for (timer, at) in counting {
            self.set_timer(timer, at + by);
        }
        self.work_version += 1;
    }

    /// A wake that could not be decided would come again for ever: its timer goes, and people were paged.
    fn drop_poisoned_timer(&mut self, input: &Input) {
        if let Input::Poisoned { cause, .. } = input
            && cause == Input::Wake.cause()
            && let Some((_, timer)) = self.timers.first().cloned()
        {
            self.clear_timer(&timer);
        }
    }

    /// An observation says what its target runs, and of a set's member how many there are.
    fn learn_of_target(&mut self, id: StepId, input: &Input) {
        let Some(target) = self.steps.get(&id).map(|step| &step.rung.target) else { return };
        let Input::Observed { result: Ok(seen), .. } = input else { return };
        if let (Some(members), Some(set)) = (seen.facts.members, set_of(target)) {
            self.fleet.counted(set, members);
        }
        if let Some(runs) = &seen.facts.runs {
            self.records.saw(&target.key(), runs, seen.facts.observed_at);
        }
    }

    /// An observation says which alerts are silenced. That one is not any more, its next delivery says.
    fn learn_of_silences(&mut self, input: &Input) {
        let Input::Observed { result: Ok(seen), .. } = input else { return };
        let FiringAnswer::Answered { alerts, .. } = &seen.firing else { return };
        for (print, _) in alerts.iter().filter(|(_, firing)| matches!(firing, Firing::Suppressed { .. })) {
            if let Some(alert) = self.alerts.get_mut(print) {
                alert.silenced = true;
            }
        }
    }

    /// A fix that changed something, or may have: one run of its rule as it is. What changed nothing was none.
    fn count_run(&mut self, id: StepId) {
        let Some(step) = self.steps.get(&id).filter(|step| step.purpose.is_fix()) else { return };
        let (Some(incident), Some(plan)) = (self.incidents.get(&id.incident), &step.plan) else { return };
        self.records.acted(&incident.rule, &plan.rule_hash);
    }

    /// How a fix ended, for its rule's record.
    fn record(&mut self, id: StepId, failed: bool) {
        let Some(step) = self.steps.get(&id).filter(|step| step.purpose.is_fix()) else { return };
        let Some(incident) = self.incidents.get(&id.incident) else { return };
        self.records.ended(&incident.rule, &step.rung.target.key(), failed);
    }

    /// Moves a step through the one table of phases.
    fn move_step(&mut self, id: StepId, event: &Event) -> Result<(), Illegal> {
        let moved = self.step_mut(id, event)?;
        let (rank, from) = (moved.rank, moved.phase);
        let to = step::next(from, event).ok_or_else(|| illegal(event, &format!("step {id} is {}", from.word())))?;
        moved.phase = to;
        self.work_version += 1;
        if from != to {
            self.waiting.remove(&(rank, id));
            if let Some(steps) = self.live.get_mut(&from) {
                steps.remove(&(rank, id));
                if steps.is_empty() {
                    self.live.remove(&from);
                }
            }
            if !to.is_terminal() {
                self.live.entry(to).or_default().insert((rank, id));
            }
        }
        Ok(())
    }

    fn alert_fired(&mut self, at: Micros, alert: &Alert, rule: Option<String>, doubtful: bool, confirm_at: Micros) {
        let print = alert.fingerprint.clone();
        let before = self.alerts.get(&print).map(|held| (held.held, held.incident));
        let goes_on =
            self.alerts.get(&print).is_some_and(|held| held.held != Held::Resolved && same_start(held, alert));
        // An alert whose incident is over starts a new story. One that never ended does not, where a person closed it.
        let incident = before.and_then(|(_, incident)| incident).filter(|incident| {
            self.incidents.get(incident).is_some_and(|incident| {
                incident.phase != IncidentPhase::Resolved || goes_on && incident.resolved_by.is_some()
            })
        });
        if let (Some((held, _)), Some(joined)) =
            (before, incident.and_then(|incident| self.incidents.get_mut(&incident)))
        {
            joined.uncount(held);
            joined.count(Held::Firing);
            joined.asks_to_hold |= alert.source == Source::Alertmanager && asks_to_hold(&alert.labels);
            joined.lost_contact = joined.lost > 0 && joined.firing == 0;
        } else if let Some(left) =
            before.and_then(|(_, incident)| incident).and_then(|left| self.incidents.get_mut(&left))
        {
            if let Some((held, _)) = before {
                left.uncount(held);
            }
            left.alerts.remove(&print);
            left.fires_elsewhere = true;
        }
        let fired = AlertState {
            held: Held::Firing,
            doubtful,
            source: alert.source,
            group: (!alert.group_key.is_empty()).then(|| dedup_key(&alert.group_key)),
            starts_at: alert.starts_at,
            ends_at: None,
            seen_at: at,
            labels: Packed::new(&alert.labels),
            annotations: Packed::new(&alert.annotations),
            url: alert.url.as_str().into(),
            rule,
            incident,
            silenced: false,
        };
        let came = fired.group.is_some_and(|group| self.peers.came(at, group));
        self.alerts.insert(print.clone(), fired);
        if let Some(incident) = incident {
            self.escalation_goes_on(incident, at);
        }
        if came {
            self.work_version += 1;
        }
        self.is_asked_about_no_more(&print);
        if before.is_some() {
            self.clear_timer(&Timer::ForgetAlert(print.clone()));
        }
        self.set_timer(Timer::Confirm(print), confirm_at);
        // Else nobody is asked about any alert, and in a storm nobody need be woken to see that.
        if self.live.values().any(|steps| !steps.is_empty()) {
            self.work_version += 1;
        }
    }

    /// Changes an alert's status, and its incident's counts with it.
    fn set_held(&mut self, at: Micros, print: &Fingerprint, held: Held, event: &Event) -> Result<(), Illegal> {
        let alert = self.alerts.get_mut(print).ok_or_else(|| illegal(event, "no such alert"))?;
        let before = std::mem::replace(&mut alert.held, held);
        let of = alert.incident;
        if let Some(incident) = of.and_then(|incident| self.incidents.get_mut(&incident)) {
            incident.uncount(before);
            incident.count(held);
        }
        if let Some(of) = of {
            self.escalation_may_rest(of, at);
        }
        self.work_version += 1;
        Ok(())
    }

    fn alert_joined(&mut self, at: Micros, id: IncidentId, print: &Fingerprint, event: &Event) -> Result<(), Illegal> {
        let alert = self.alerts.get_mut(print).ok_or_else(|| illegal(event, "no such alert"))?;
        let incident = self.incidents.get_mut(&id).ok_or_else(|| illegal(event, "no such incident"))?;
        alert.incident = Some(id);
        incident.asks_to_hold |= alert.asks_to_hold();
        if incident.alerts.insert(print.clone()) {
            incident.count(alert.held);
        }
        // What joins is heard of.
        incident.lost_contact = false;
        self.escalation_goes_on(id, at);
        Ok(())
    }

    pub(super) fn is_asked_about(&mut self, prints: &[Fingerprint]) {
        self.confirming.extend(prints.iter().cloned());
        self.work_version += 1;
    }

    fn is_asked_about_no_more(&mut self, print: &Fingerprint) {
        if self.confirming.remove(print) {
            self.work_version += 1;
        }
    }

    fn alert_forgotten(&mut self, print: &Fingerprint) {
        if let Some(alert) = self.alerts.remove(print)
            && let Some(incident) = alert.incident.and_then(|incident| self.incidents.get_mut(&incident))
            && incident.alerts.remove(print)
        {
            incident.uncount(alert.held);
        }
        self.clear_timer(&Timer::ForgetAlert(print.clone()));
        self.clear_timer(&Timer::Confirm(print.clone()));
        self.is_asked_about_no_more(print);
    }

    fn incident_resolved(
        &mut self,
        at: Micros,
        id: IncidentId,
        how: &HowResolved,
        event: &Event,
    ) -> Result<(), Illegal> {
        let incident = self.incident_mut(id, event)?;
        incident.phase = IncidentPhase::Resolved;
        incident.resolved_at = Some(at);
        incident.quiet_until = None;
        let person = match how {
            HowResolved::Quiet => None,
            HowResolved::ByPerson { by } => Some(by.clone()),
        };
        let by_person = person.is_some();
        incident.resolved_by = person;
        let key = (incident.rule.clone(), incident.key.clone());
        if self.open.get(&key) == Some(&id) {
            self.open.remove(&key);
        }
        self.roots.retain(|_, root| *root != id);
        self.clear_timer(&Timer::Quiet(id));
        self.clear_timer(&Timer::Update(id));
        self.leave_unsaid_how_it_stood(id);
        self.end_escalation(id);
        self.escalation_may_rest(id, at);
        self.lift_bars(id);
        self.evidence_wanted.retain(|(incident, _)| *incident != id);
        if by_person {
            self.locks.retain(|_, lock| !(lock.incident == id && lock.unknown));
        }
        self.free_locks(id);
        Ok(())
    }

    /// A veto ends with its own incident, whoever else said no.
    fn lift_bars(&mut self, id: IncidentId) {
        self.barred.retain(|_, bars| {
            bars.retain(|bar| bar.incident != id);
            !bars.is_empty()
        });
    }

    fn incident_forgotten(&mut self, at: Micros, id: IncidentId) {
        let Some(incident) = self.incidents.remove(&id) else { return };
        self.records.forget_fired(&incident.rule, &incident.key, at);
        self.fleet.forget(id);
        for print in &incident.alerts {
            if let Some(alert) = self.alerts.get_mut(print) {
                alert.incident = None;
            }
        }
        let range = StepId { incident: id, number: 0 }..=StepId { incident: id, number: u32::MAX };
        let steps: Vec<StepId> = self.steps.range(range).map(|(step, _)| *step).collect();
        for step in steps {
            self.steps.remove(&step);
        }
        self.letters.retain(|letter, _| letter.incident != id);
        self.owed.retain(|letter| letter.incident != id);
        self.pages_owed.retain(|letter| letter.incident != id);
        self.forget_published(id);
        self.pages.retain(|(incident, _), _| *incident != id);
        self.peers.forget(id);
        self.lift_bars(id);
        if let Some(parent) = incident.parent.and_then(|parent| self.incidents.get_mut(&parent)) {
            parent.children.remove(&id);
        }
        self.clear_timer(&Timer::Postmortem(id));
        self.clear_timer(&Timer::ForgetIncident(id));
        self.clear_timer(&Timer::HoldEnds(id));
    }

    fn evidence_gathered(&mut self, at: Micros, id: IncidentId, input: &Input, event: &Event) -> Result<(), Illegal> {
        let Input::Gathered { collector, target, result, .. } = input else {
            return Err(illegal(event, "its input is not Gathered"));
        };
        let (digest, summary) = match result {
            Ok(Gathered { digest, summary, .. }) => (Some(digest.clone()), summary.clone()),
            Err(problem) => (None, format!("not collected: {problem}")),
        };
        let incident = self.incident_mut(id, event)?;
        if incident.evidence.len() < EVIDENCE_LISTED {
            incident.evidence.push(EvidenceView {
                collector: collector.clone(),
                target: target.clone(),
                at,
                digest,
                summary,
            });
        }
        self.evidence_wanted.retain(|(incident, wanted)| {
            !(*incident == id && wanted.collect == *collector && wanted.target.key().0 == *target)
        });
        self.work_version += 1;
        Ok(())
    }

    fn count_start(&mut self, at: Micros, scopes: &[String]) {
        for scope in scopes {
            let starts = self.starts.entry(scope.clone()).or_default();
            starts.push_back(at);
            while starts.front().is_some_and(|first| *first + LONGEST_LIMIT_WINDOW < at) {
                starts.pop_front();
            }
        }
    }

    /// An incident's locks end with its ladder, and with the last step of it that has started or puts something back by
    /// itself. Unknown keeps its lock.
    fn free_locks(&mut self, id: IncidentId) {
        let ladder_lives = self
            .incidents
            .get(&id)
            .is_some_and(|incident| incident.has_live_ladder() && incident.phase != IncidentPhase::Resolved);
        let started: BTreeSet<TargetKey> = self
            .live_steps_of(id)
            .into_iter()
            .filter_map(|step| self.steps.get(&step))
            .filter(|step| step.phase.is_started() || matches!(step.purpose, Purpose::Undo { by: None, .. }))
            .flat_map(|step| step.rung.target.locks())
            .collect();
        if !ladder_lives {
            self.locks.retain(|target, lock| lock.incident != id || lock.unknown || started.contains(target));
        }
    }

    fn settle_letter(&mut self, key: &crate::model::letter::LetterKey) {
        let Some(letter) = self.letters.get(key) else { return };
        if letter.told >= letter.want {
            self.owed.remove(key);
            self.pages_owed.remove(key);
            if matches!(key.slot, Slot::Post(_)) {
                self.letters.remove(key);
            }
            self.page_told(key);
        }
        self.letters_version += 1;
    }

    pub(super) fn set_timer(&mut self, timer: Timer, at: Micros) {
        self.clear_timer(&timer);
        self.timers.insert((at, timer.clone()));
        self.due.insert(timer, at);
    }

    pub(super) fn clear_timer(&mut self, timer: &Timer) {
        if let Some(at) = self.due.remove(timer) {
            self.timers.remove(&(at, timer.clone()));
        }
    }

    fn clear_timers_of(&mut self, step: StepId) {
        for timer in [Timer::Resume(step), Timer::ApprovalEnds(step), Timer::PerformBy(step), Timer::VerifyBy(step)] {
            self.clear_timer(&timer);
        }
    }

    pub(super) fn incident_mut(&mut self, id: IncidentId, event: &Event) -> Result<&mut Incident, Illegal> {
        self.incidents.get_mut(&id).ok_or_else(|| illegal(event, &format!("there is no incident {id}")))
    }

    fn step_mut(&mut self, id: StepId, event: &Event) -> Result<&mut Step, Illegal> {
        self.steps.get_mut(&id).ok_or_else(|| illegal(event, &format!("there is no step {id}")))
    }
}

/// A call may still be on its way when `perform_by` has passed: its total deadline ends before, this is for clocks.
pub const READ_BACK_SLACK: Span = Span::seconds(5);

/// Something could not be learned: it is asked again a few times.
#[must_use]
pub fn is_doubt(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::NotObserved { .. }
            | Reason::FiringUnknown { .. }
            | Reason::NotListed
            | Reason::ObservationOld { .. }
            | Reason::Doubtful
            | Reason::DisruptionNotAllowed { .. }
    )
}

fn alert_of<'a>(input: &'a Input, event: &Event) -> Result<&'a Alert, Illegal> {
    match input {
        Input::Alert(alert) => Ok(alert),
        Input::Peer(news) => news.alert.as_deref().ok_or_else(|| illegal(event, "its input tells of no alert")),
        _ => Err(illegal(event, "its input is not an alert")),
    }
}

pub(super) fn illegal(event: &Event, why: &str) -> Illegal {
    let word = format!("{event:?}");
    let end = word.find([' ', '{']).unwrap_or(word.len());
    Illegal { event: word.get(..end).unwrap_or_default().to_owned(), why: why.to_owned() }
}

impl AlertState {
    /// Its page may wait. What came from PagerDuty has paged already.
    pub(super) fn asks_to_hold(&self) -> bool {
        self.source == Source::Alertmanager && self.labels.get(HOLD_LABEL) == Some("true")
    }
}

impl Incident {
    fn count(&mut self, held: Held) {
        match held {
            Held::Firing => self.firing += 1,
            Held::Resolved => self.resolved += 1,
            Held::Lost => self.lost += 1,
        }
    }

    fn uncount(&mut self, held: Held) {
        let count = match held {
            Held::Firing => &mut self.firing,
            Held::Resolved => &mut self.resolved,
            Held::Lost => &mut self.lost,
        };
        *count = count.saturating_sub(1);
    }
}

impl Step {
    fn planned(
        at: Micros,
        purpose: &Purpose,
        rank: u32,
        rung_number: u32,
        rung: &crate::model::rung::Rung,
        try_number: u32,
    ) -> Step {
        Step {
            purpose: purpose.clone(),
            rank,
            rung_number,
            rung: rung.clone(),
            try_number,
            phase: Phase::Observing,
            planned_at: at,
            plan: None,
            trace: Vec::new(),
            held_for: None,
            held_until: None,
            held_long: false,
            doubts: 0,
            approval_until: None,
            approved_by: None,
            approver: None,
            perform_by: None,
            epoch: 0,
            outcome_lost: false,
            before: None,
            started_at: None,
            applied_at: None,
            ended: None,
            measure_from: None,
            verify_by: None,
            last_measurement: false,
            ended_at: None,
            reason: None,
            answer: None,
            undone_by: None,
        }
    }
}
