//! Slack's error words, a closed list with what each means for a letter. Source: docs.slack.dev, the methods' pages.

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As a 429.
    Limited,
    /// Not done; may work later.
    Transient,
    /// Slack says that part of it may have been done.
    Doubtful,
    /// The token is no good, or may not: somebody must look.
    Auth,
    /// The channel is no good: somebody must look.
    Target,
    /// We sent what Slack does not take: our mistake.
    Payload,
    /// There is no such message to change.
    Gone,
    /// There is no such thread to join.
    NoThread,
    /// There is such a channel.
    NameTaken,
}

/// A word that is not in the list: Slack adds some, mostly about rights. Not tried again, or the letters behind it
/// would wait for ever.
pub const UNKNOWN: &str = "unknown_error";

const LIST: &[(&str, Kind)] = &[
    ("ratelimited", Kind::Limited),
    ("rate_limited", Kind::Limited),
    ("service_unavailable", Kind::Transient),
    ("request_timeout", Kind::Transient),
    ("team_added_to_org", Kind::Transient),
    ("message_limit_exceeded", Kind::Transient),
    ("external_channel_migrating", Kind::Transient),
    ("update_failed", Kind::Transient),
    ("internal_error", Kind::Doubtful),
    ("fatal_error", Kind::Doubtful),
    ("invalid_auth", Kind::Auth),
    ("not_authed", Kind::Auth),
    ("account_inactive", Kind::Auth),
    ("token_revoked", Kind::Auth),
    ("token_expired", Kind::Auth),
    ("missing_scope", Kind::Auth),
    ("not_allowed_token_type", Kind::Auth),
    ("no_permission", Kind::Auth),
    ("org_login_required", Kind::Auth),
    ("ekm_access_denied", Kind::Auth),
    ("accesslimited", Kind::Auth),
    ("access_denied", Kind::Auth),
    ("team_access_not_granted", Kind::Auth),
    ("two_factor_setup_required", Kind::Auth),
    ("enterprise_is_restricted", Kind::Auth),
    ("user_removed_from_team", Kind::Auth),
    ("team_disabled", Kind::Auth),
    ("forbidden_team", Kind::Auth),
    ("channel_not_found", Kind::Target),
    ("not_in_channel", Kind::Target),
    ("is_archived", Kind::Target),
    ("is_inactive", Kind::Target),
    ("restricted_action", Kind::Target),
    ("restricted_action_read_only_channel", Kind::Target),
    ("restricted_action_thread_only_channel", Kind::Target),
    ("messages_tab_disabled", Kind::Target),
    ("team_not_found", Kind::Target),
    ("invalid_blocks", Kind::Payload),
    ("invalid_blocks_format", Kind::Payload),
    ("block_mismatch", Kind::Payload),
    ("msg_too_long", Kind::Payload),
    ("msg_blocks_too_long", Kind::Payload),
    ("no_text", Kind::Payload),
    ("too_many_attachments", Kind::Payload),
    ("metadata_too_large", Kind::Payload),
    ("metadata_must_be_sent_from_app", Kind::Payload),
    ("invalid_metadata_format", Kind::Payload),
    ("invalid_metadata_schema", Kind::Payload),
    ("invalid_arguments", Kind::Payload),
    ("invalid_arg_name", Kind::Payload),
    ("invalid_array_arg", Kind::Payload),
    ("invalid_json", Kind::Payload),
    ("json_not_object", Kind::Payload),
    ("invalid_charset", Kind::Payload),
    ("invalid_form_data", Kind::Payload),
    ("invalid_post_type", Kind::Payload),
    ("missing_post_type", Kind::Payload),
    ("unknown_method", Kind::Payload),
    ("method_deprecated", Kind::Payload),
    ("deprecated_endpoint", Kind::Payload),
    ("user_not_found", Kind::Target),
    ("user_not_visible", Kind::Target),
    ("user_not_in_channel", Kind::Target),
    ("bot_not_found", Kind::Target),
    ("no_such_subteam", Kind::Target),
    ("subteam_disabled", Kind::Target),
    ("name_taken", Kind::NameTaken),
    ("invalid_name_required", Kind::Payload),
    ("invalid_name_punctuation", Kind::Payload),
    ("invalid_name_maxlength", Kind::Payload),
    ("invalid_name_specials", Kind::Payload),
    ("invalid_name", Kind::Payload),
    ("no_channel", Kind::Payload),
    ("user_is_restricted", Kind::Auth),
    ("message_not_found", Kind::Gone),
    ("cant_update_message", Kind::Gone),
    ("edit_window_closed", Kind::Gone),
    ("thread_not_found", Kind::NoThread),
    ("cannot_reply_to_message", Kind::NoThread),
    ("invalid_thread_ts", Kind::NoThread),
    // People have locked one thread, or want none there: the channel itself takes what is said.
    ("restricted_action_thread_locked", Kind::NoThread),
    ("restricted_action_non_threadable_channel", Kind::NoThread),
    // A reply that the channel is to see, too.
    ("cant_broadcast_message", Kind::NoThread),
];

/// Nothing is wrong with what was sent: once somebody has set the token or the channel right, it will be taken.
#[must_use]
pub fn is_set_up_wrong(reason: &str) -> bool {
    matches!(kind(reason).0, Kind::Auth | Kind::Target)
}

/// It is not the token: other channels take what this one does not.
#[must_use]
pub fn is_wrong_channel(reason: &str) -> bool {
    kind(reason).0 == Kind::Target
}

/// What an error is, and the word of ours for it.
#[must_use]
pub fn kind(error: &str) -> (Kind, &'static str) {
    match LIST.iter().find(|(word, _)| *word == error) {
        Some((word, kind)) => (*kind, word),
        None if error.starts_with("restricted_action") => (Kind::Target, "restricted_action"),
        None => (Kind::Payload, UNKNOWN),
    }
}
