//! The closed sets of words that metrics are labelled with.
//!
//! A label set that grows with what comes from outside grows without bound. So every word is one of these, or one
//! of the lists that [`super::metrics::Metrics::new`] is given; never a text of an alert, a rule or a peer.

macro_rules! closed {
    ($($(#[$about:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// Every one, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Every word, in the order of declaration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as the label shows it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
    )+ };
}

closed! {
    /// Who sends: alerts, or what people ask for. Slack over HTTP, and over a web socket.
    Source {
        Alertmanager = "alertmanager", Pagerduty = "pagerduty", Slack = "slack", SlackSocket = "slack_socket",
    }

    /// How Slack's Socket Mode is. Off: it is not set up. Refused: Slack does not take the app's token. Disabled: Slack
    /// has it switched off for the app.
    SlackSocket {
        Off = "off", Connecting = "connecting", Connected = "connected", Refused = "refused", Disabled = "disabled",
    }

    /// How a webhook was answered: 2xx, 401/403, 400, 413, 503, 500.
    Answer {
        Accepted = "accepted", Unauthorized = "unauthorized", Invalid = "invalid", TooLarge = "too_large",
        Overloaded = "overloaded", Error = "error",
    }

    /// What an alert of a webhook turned out to be. Unmatched: no rule wants it.
    AlertOutcome {
        New = "new", Known = "known", Resolved = "resolved", Stale = "stale", Unmatched = "unmatched",
    }

    /// The engine's lanes, first served first.
    Lane { Commands = "commands", Results = "results", Intake = "intake" }

    /// States of an incident that is not over.
    IncidentState { Open = "open", Acknowledged = "acknowledged", Monitoring = "monitoring" }

    /// How a step ended. Would have: shadow.
    StepOutcome {
        Dropped = "dropped", Failed = "failed", Unknown = "unknown", Verified = "verified",
        Ineffective = "ineffective", Inconclusive = "inconclusive", WouldHave = "would_have",
    }

    /// What a guard said.
    Verdict { Allow = "allow", Ask = "ask", Hold = "hold", Deny = "deny" }

    /// Kinds of receivers of letters. Log: nobody else is configured.
    Receiver { Slack = "slack", Pagerduty = "pagerduty", Statuspage = "statuspage", Log = "log" }

    /// Why a letter did not arrive this time.
    LetterFailure {
        Refused = "refused", Unauthorized = "unauthorized", NotFound = "not_found", RateLimited = "rate_limited",
        Unreachable = "unreachable", TimedOut = "timed_out", Other = "other",
    }

    /// The two listeners.
    Listener { Webhooks = "webhooks", Admin = "admin" }

    /// Why nothing may act now.
    Restraint {
        Paused = "paused", Settling = "settling", Brake = "brake", Shadow = "shadow", Journal = "journal", Other = "other",
    }
}

impl Receiver {
    /// The kind of a letter's receiver.
    #[must_use]
    pub fn of(receiver: &crate::model::letter::Receiver) -> Receiver {
        use crate::model::letter::Receiver as Of;
        match receiver {
            Of::Slack { .. } | Of::IncidentChannel { .. } => Receiver::Slack,
            Of::PagerDuty { .. } => Receiver::Pagerduty,
            Of::Statuspage { .. } => Receiver::Statuspage,
        }
    }
}
