//! Every recorded change of the state: one closed enum. Events only gain fields.
//!
//! Applying an event never reads the rules: an event carries copies of what it needs.

use super::{
    id::{Fingerprint, IncidentId, StepId},
    letter::{External, LetterKey, Note, PageState, PublicStatus, Receiver},
    observation::{Ended, Facts},
    page::DedupKey,
    plan::Plan,
    public::ComponentStatus,
    reason::Reason,
    rung::{Collector, Rung},
    step::{Answer, GuardLine, LeaseKey, Purpose, Verdict},
    target::TargetKey,
    time::{Micros, Span},
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    // Alerts. The alert itself is in the input.
    /// New, or fired anew. `rule`: None when no rule matches. `doubtful`: fired again with the same start.
    AlertFired {
        rule: Option<String>,
        doubtful: bool,
        confirm_at: Micros,
    },
    AlertResolved {
        forget_at: Micros,
    },
    /// Old news: an older start than the one held, or a resolve of an older firing. Changes nothing else.
    AlertStale,
    /// Asks the source before it is called lost.
    ConfirmAsked {
        fingerprint: Fingerprint,
    },
    /// `silenced`: what Alertmanager said of that; None: nobody knows.
    AlertConfirmed {
        fingerprint: Fingerprint,
        confirm_at: Micros,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        silenced: Option<bool>,
    },
    AlertLost {
        fingerprint: Fingerprint,
        forget_at: Micros,
    },
    AlertForgotten {
        fingerprint: Fingerprint,
    },

    // Incidents.
    IncidentOpened {
        incident: IncidentId,
        rule: String,
        /// The values of the rule's `group_by` labels: a JSON list of [label, value].
        key: String,
        severity: String,
        /// 0 is the most severe.
        rank: u32,
        title: String,
        service: Option<String>,
        runbook: Option<String>,
        quiet: Span,
        receiver: Option<Receiver>,
        mentions: Vec<String>,
        /// The incident of the same service in whose thread it speaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<IncidentId>,
        /// What it means to those who use the service, in the rule's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        impact: Option<String>,
        /// Told of its opening, its pages and its end too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        security: Option<Receiver>,
    },
    AlertJoined {
        incident: IncidentId,
        fingerprint: Fingerprint,
    },
    SeverityChanged {
        incident: IncidentId,
        severity: String,
        rank: u32,
    },
    IncidentAcknowledged {
        incident: IncidentId,
        by: String,
    },
    /// It is more severe than what was acknowledged: nobody has it.
    AcknowledgeVoided {
        incident: IncidentId,
    },
    IncidentMonitoring {
        incident: IncidentId,
        until: Micros,
    },
    /// Its own quiet time is over, and a child of it is not: its last child's end resolves it.
    IncidentWaits {
        incident: IncidentId,
    },
    IncidentReopened {
        incident: IncidentId,
    },
    IncidentLostContact {
        incident: IncidentId,
    },
    IncidentResolved {
        incident: IncidentId,
        how: HowResolved,
        forget_at: Micros,
    },
    /// Something still rests on it (a lease, an owed letter): it is forgotten later.
    IncidentKept {
        incident: IncidentId,
        forget_at: Micros,
    },
    IncidentForgotten {
        incident: IncidentId,
    },
    EvidenceWanted {
        incident: IncidentId,
        collectors: Vec<Collector>,
    },
    EvidenceGathered {
        incident: IncidentId,
    },

    // Ladders.
    LadderBegan {
        incident: IncidentId,
        rungs: Vec<Rung>,
        first: u32,
        rule_hash: String,
        fires_for: Span,
        cooldown: Span,
        undo_within: Span,
    },
    LadderEnded {
        incident: IncidentId,
        how: LadderEnd,
        cooldowns: Vec<CoolDown>,
    },

    // Steps.
    StepPlanned {
        step: StepId,
        purpose: Purpose,
        rung_number: u32,
        rung: Box<Rung>,
        try_number: u32,
    },
    /// `scopes`: what a `WouldHave` counts against, in shadow's own counters.
    StepJudged {
        step: StepId,
        verdict: Verdict,
        trace: Vec<GuardLine>,
        plan: Option<Box<Plan>>,
        scopes: Vec<String>,
    },
    StepHeld {
        step: StepId,
        until: Option<Micros>,
        reason: Reason,
    },
    StepResumed {
        step: StepId,
    },
    StepDropped {
        step: StepId,
        reason: Reason,
    },
    ApprovalAsked {
        step: StepId,
        plan: Box<Plan>,
        until: Micros,
    },
    Approved {
        step: StepId,
        by: String,
    },
    ApprovalVoided {
        step: StepId,
        reason: Reason,
    },
    /// The ONLY thing that lets the driver write. `scopes`: what it counts against. `before`: what the verdict compares with.
    StepStarted {
        step: StepId,
        plan: Box<Plan>,
        perform_by: Micros,
        before: Box<Facts>,
        scopes: Vec<String>,
    },
    /// The call's answer was lost: it is read back once `perform_by` and slack have passed.
    StepOutcomeLost {
        step: StepId,
        why: String,
    },
    ReadBackBegan {
        step: StepId,
    },
    StepApplied {
        step: StepId,
        measure_from: Micros,
        verify_by: Micros,
        /// Of a plan that lists sessions or queries: how many of them it was applied to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<Box<Ended>>,
    },
    StepFailed {
        step: StepId,
        reason: Reason,
    },
    StepUnknown {
        step: StepId,
        why: String,
    },
    /// The window has passed: one last measurement decides.
    MeasureAsked {
        step: StepId,
    },
    StepVerified {
        step: StepId,
        answer: Answer,
    },

    // Leases.
    LeaseBegan {
        lease: LeaseKey,
        step: StepId,
        baseline: Value,
        value: Value,
        until: Micros,
    },
    LeaseExtended {
        lease: LeaseKey,
        until: Micros,
        times: u32,
        by: Option<String>,
    },
    LeaseEnding {
        lease: LeaseKey,
    },
    LeaseEnded {
        lease: LeaseKey,
        how: LeaseEnd,
    },

    // Switches.
    Settling {
        until: Micros,
    },
    Settled,
    Paused {
        by: String,
        reason: String,
    },
    Resumed {
        by: String,
    },
    /// A person's undo or reject keeps the rule away from the target until the incident is resolved.
    Barred {
        incident: IncidentId,
        rule: String,
        target: TargetKey,
        by: String,
    },
    Rearmed {
        rule: String,
        targets: Vec<TargetKey>,
        /// It was disarmed as a whole.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        by: String,
    },
    /// The rule stays away from the target (None: from all) until a person rearms it.
    Disarmed {
        incident: IncidentId,
        rule: String,
        target: Option<TargetKey>,
        failures: u32,
        of: u32,
    },
    /// So many targets alert at once that nothing acts on the set (None: on anything).
    Braked {
        set: Option<String>,
        /// Tells of it.
        incident: IncidentId,
        targets: u32,
        look_at: Micros,
    },
    BrakeKept {
        set: Option<String>,
        calm_since: Option<Micros>,
        look_at: Micros,
    },
    BrakeReleased {
        set: Option<String>,
    },
    /// An incident that opened under the brake is told in the one that tells of it.
    IncidentFolded {
        incident: IncidentId,
        into: IncidentId,
    },
    PolicyChanged {
        policy: String,
    },
    PolicyKept {
        problems: u32,
    },
    Started {
        replica: String,
        /// Starts up to this one without a clean stop, and without a steady time between them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unclean: Option<u32>,
    },
    /// It has run long enough for its starts to be forgotten.
    Steady,
    Stopped,
    ClockStepped {
        by: Span,
    },

    // People.
    /// Nobody is woken before then, unless nightshift has to give it up.
    PageHeld {
        incident: IncidentId,
        until: Micros,
    },
    /// A held page is not sent.
    PageSpared {
        incident: IncidentId,
        how: Spared,
    },
    PageReleased {
        incident: IncidentId,
        reason: Reason,
        mentions: Vec<String>,
    },
    /// Levels count from here: its first page, or one of a higher severity than the last.
    EscalationBegan {
        incident: IncidentId,
        next_at: Option<Micros>,
    },
    /// Before a level is called, it is asked whether these still fire and are not silenced.
    EscalationAsked {
        incident: IncidentId,
        fingerprints: Vec<Fingerprint>,
        /// No answer counts after that.
        until: Micros,
    },
    /// Nobody acknowledged it in time. Level 0 was called by the page.
    Escalated {
        incident: IncidentId,
        level: u32,
        to: String,
        next_at: Option<Micros>,
    },
    /// Whatever of it fires is silenced: it goes on once something of it is heard of.
    EscalationSilenced {
        incident: IncidentId,
    },
    /// There is no level left.
    EscalationEnded {
        incident: IncidentId,
    },
    UpdatesBegan {
        incident: IncidentId,
        at: Micros,
    },
    UpdateDue {
        incident: IncidentId,
        next_at: Option<Micros>,
    },
    /// It has a Slack channel of its own.
    ChannelOpened {
        incident: IncidentId,
        name: String,
    },
    PostmortemDue {
        incident: IncidentId,
        due: Micros,
        remind_at: Micros,
    },
    PostmortemReminded {
        incident: IncidentId,
    },
    /// `on`: it holds now. `look_at`: when that changes; None: never.
    FreezeWatched {
        name: String,
        on: bool,
        look_at: Option<Micros>,
    },
    FreezeForgotten {
        name: String,
    },
    /// A page of it is owed to a PagerDuty service, or one that is there already is watched from here on: then it is not
    /// `ours`, and is only ever acknowledged.
    PageOwed {
        incident: IncidentId,
        page: u32,
        service: String,
        dedup_key: DedupKey,
        /// It is over once nothing of this group fires. None: once nothing of the incident does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<DedupKey>,
        ours: bool,
        /// Nothing fires: it is over once its incident is resolved.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rests: bool,
        /// Why people are woken, a sentence without a full stop.
        why: String,
    },
    /// How PagerDuty is to have it from now on.
    PageWanted {
        incident: IncidentId,
        page: u32,
        state: PageState,
    },
    /// A page is so in PagerDuty, by its own word: it need not be told.
    PageSeen {
        incident: IncidentId,
        page: u32,
        state: PageState,
    },
    /// News of PagerDuty, remembered until then: they are not taken twice.
    PeerHeard {
        ids: Vec<String>,
        until: Micros,
    },
    /// Whether PagerDuty's incident is one of ours is not known without its keys: they are asked for.
    PeerAsked {
        peer: String,
    },
    /// Its keys are those of a group of which nothing fires yet: perhaps the alert is only later than its page.
    PeerWaits {
        peer: String,
        until: Micros,
    },
    PeerAnswered {
        peer: String,
    },
    /// PagerDuty's incident belongs to ours. `key`: by which that is known; None: it is an alert of it.
    PeerJoined {
        incident: IncidentId,
        peer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<DedupKey>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        url: String,
    },
    /// A letter is owed. `note`: for a post.
    Tell {
        letter: LetterKey,
        note: Option<Note>,
    },
    LetterTold {
        letter: LetterKey,
        up_to: u64,
        external: Option<External>,
    },
    LetterFailed {
        letter: LetterKey,
        reason: String,
    },
    /// Refused until somebody sets its receiver right; it is still owed.
    LetterWaits {
        letter: LetterKey,
        reason: String,
    },
    /// What the status page is to show of a component from now on.
    StatusDue {
        component: String,
        /// The incident under which it is published: the first of those that belong to it.
        incident: IncidentId,
        /// From now on this one belongs to it.
        joined: Option<IncidentId>,
        status: PublicStatus,
        shows: ComponentStatus,
        /// Nothing goes out before a person says so.
        waits: bool,
    },
    /// A person let it go out to customers.
    StatusPublished {
        component: String,
        incident: IncidentId,
        by: String,
    },
    /// A click or command in Slack, remembered until then: it is not taken twice.
    Clicked {
        once: String,
        until: Micros,
    },
    CommandRefused {
        reason: String,
    },
    Poisoned {
        digest: String,
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowResolved {
    /// Nothing of it fired for the rule's `quiet`.
    Quiet,
    ByPerson {
        by: String,
    },
}

impl HowResolved {
    /// For people, without a full stop.
    #[must_use]
    pub fn says(&self) -> String {
        match self {
            HowResolved::Quiet => "nothing of it fired for its quiet time".to_owned(),
            HowResolved::ByPerson { by } => format!("by {by}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LadderEnd {
    Helped,
    /// The alerts resolved before a step started.
    NotNeeded,
    /// Shadow: said what it would have done.
    WouldHave,
    Exhausted,
    HandedOver {
        reason: Reason,
    },
    Vetoed {
        by: String,
    },
}

impl LadderEnd {
    /// The sentence for people, without a full stop; times in their zone.
    #[must_use]
    pub fn says(&self, zone: &TimeZone) -> String {
        match self {
            LadderEnd::Helped => "nightshift's step helped".to_owned(),
            LadderEnd::NotNeeded => "the alert resolved before anything had to be done".to_owned(),
            LadderEnd::WouldHave => "shadow: it said what it would have done".to_owned(),
            LadderEnd::Exhausted => "every step was tried: over to people".to_owned(),
            LadderEnd::HandedOver { reason } => format!("over to people: {}", reason.says(zone)),
            LadderEnd::Vetoed { by } => format!("ended by {by}"),
        }
    }
}

/// The rule may not act on the target before `until`. `shadow`: in shadow's own counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoolDown {
    pub rule: String,
    pub target: TargetKey,
    pub until: Micros,
    pub shadow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    PutBack,
    /// Somebody changed it since: not ours any more.
    LeftAlone {
        difference: String,
    },
    /// A new lease on the same field took over.
    Superseded,
    /// It could not be put back: people were told.
    GivenUp {
        reason: Reason,
    },
    Undone,
}

impl LeaseEnd {
    /// The sentence for people, without a full stop; times in their zone.
    #[must_use]
    pub fn says(&self, zone: &TimeZone) -> String {
        match self {
            LeaseEnd::PutBack => "put back".to_owned(),
            LeaseEnd::LeftAlone { difference } => format!("left alone, because somebody changed it: {difference}"),
            LeaseEnd::Superseded => "a newer change took its place".to_owned(),
            LeaseEnd::GivenUp { reason } => format!("it could not be put back: {}", reason.says(zone)),
            LeaseEnd::Undone => "the step was undone".to_owned(),
        }
    }
}

/// Why a page that was held need not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spared {
    /// What nightshift did helped, as was verified.
    Helped,
    /// It resolved before anything had been done.
    Resolved,
    /// Whoever acknowledged it is awake.
    Acknowledged {
        by: String,
    },
    Closed {
        by: String,
    },
    /// Alertmanager keeps it quiet.
    Silenced,
    /// People were woken for the storm that it is part of.
    Storm {
        by: IncidentId,
    },
}

impl Spared {
    /// The sentence for people, without a full stop.
    #[must_use]
    pub fn says(&self) -> String {
        match self {
            Spared::Helped => "nobody was woken: what nightshift did helped in time".to_owned(),
            Spared::Resolved => "nobody was woken: it resolved before anything had to be done".to_owned(),
            Spared::Acknowledged { by } => format!("nobody is woken for it: {by} has it"),
            Spared::Closed { by } => format!("nobody is woken for it: {by} resolved it"),
            Spared::Silenced => "nobody is woken for it: it is silenced in Alertmanager".to_owned(),
            Spared::Storm { by } => format!("nobody is woken for it alone: people were for incident {by}"),
        }
    }
}

impl Event {
    /// The incident it is about, if it is about one.
    #[must_use]
    pub fn incident(&self) -> Option<IncidentId> {
        if let Some(step) = self.step() {
            return Some(step.incident);
        }
        match self {
            Event::IncidentOpened { incident, .. }
            | Event::AlertJoined { incident, .. }
            | Event::SeverityChanged { incident, .. }
            | Event::IncidentAcknowledged { incident, .. }
            | Event::AcknowledgeVoided { incident }
            | Event::IncidentMonitoring { incident, .. }
            | Event::IncidentReopened { incident }
            | Event::IncidentLostContact { incident }
            | Event::IncidentResolved { incident, .. }
            | Event::IncidentForgotten { incident }
            | Event::IncidentWaits { incident }
            | Event::EscalationBegan { incident, .. }
            | Event::EscalationAsked { incident, .. }
            | Event::Escalated { incident, .. }
            | Event::EscalationSilenced { incident }
            | Event::EscalationEnded { incident }
            | Event::UpdatesBegan { incident, .. }
            | Event::UpdateDue { incident, .. }
            | Event::ChannelOpened { incident, .. }
            | Event::PostmortemDue { incident, .. }
            | Event::PostmortemReminded { incident }
            | Event::EvidenceWanted { incident, .. }
            | Event::EvidenceGathered { incident }
            | Event::LadderBegan { incident, .. }
            | Event::LadderEnded { incident, .. }
            | Event::Barred { incident, .. }
            | Event::PageHeld { incident, .. }
            | Event::PageSpared { incident, .. }
            | Event::PageReleased { incident, .. }
            | Event::PageOwed { incident, .. }
            | Event::PageWanted { incident, .. }
            | Event::StatusDue { incident, .. }
            | Event::StatusPublished { incident, .. }
            | Event::PageSeen { incident, .. }
            | Event::PeerJoined { incident, .. } => Some(*incident),
            Event::Tell { letter, .. }
            | Event::LetterTold { letter, .. }
            | Event::LetterFailed { letter, .. }
            | Event::LetterWaits { letter, .. } => Some(letter.incident),
            _ => None,
        }
    }

    /// The step it is about, for the table of phases.
    #[must_use]
    pub fn step(&self) -> Option<StepId> {
        match self {
            Event::StepPlanned { step, .. }
            | Event::StepJudged { step, .. }
            | Event::StepHeld { step, .. }
            | Event::StepResumed { step }
            | Event::StepDropped { step, .. }
            | Event::ApprovalAsked { step, .. }
            | Event::Approved { step, .. }
            | Event::ApprovalVoided { step, .. }
            | Event::StepStarted { step, .. }
            | Event::StepOutcomeLost { step, .. }
            | Event::ReadBackBegan { step }
            | Event::StepApplied { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepUnknown { step, .. }
            | Event::MeasureAsked { step }
            | Event::StepVerified { step, .. } => Some(*step),
            _ => None,
        }
    }
}
