//! The API server's audit log: the judge of what was done, by whom, and how often.

use std::path::Path;

use serde_json::Value;

/// One write as the API server saw it, when it had answered.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query as sent.
    pub uri: String,
    /// The status answered. 0: the server never answered (it panicked). 504 also where the caller went away in mid-call:
    /// the write may be done all the same.
    pub code: u16,
    /// For example `system:serviceaccount:web-1:nightshift`.
    pub user: String,
    /// The client's `User-Agent`.
    pub agent: String,
    /// `dryRun=All`: nothing was changed.
    pub dry_run: bool,
    pub namespace: String,
    /// `deployments`, `horizontalpodautoscalers`, …
    pub resource: String,
    /// `scale`, `eviction`, or empty.
    pub subresource: String,
    pub name: String,
    /// The body, for service accounts only.
    pub request_object: Option<Value>,
    /// RFC 3339, microseconds.
    pub stage_timestamp: String,
}

impl AuditEvent {
    /// Whether this write changed (or could have changed) an object.
    pub fn acted(&self) -> bool {
        !self.dry_run && (200..300).contains(&self.code)
    }

    /// Whether it changed something, or was left unanswered and may have.
    pub fn may_have_acted(&self) -> bool {
        self.acted() || (!self.dry_run && (self.code == 0 || self.code >= 500))
    }
}

/// Every write in the log, oldest first. A last line that is still being written is left out.
pub fn read(log: &Path) -> Vec<AuditEvent> {
    let text = match std::fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => return Vec::new(),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(event).collect()
}

fn event(line: &str) -> Option<AuditEvent> {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("audit log: {error}: {line}"));
    // A long-running request has a ResponseStarted before its ResponseComplete; count each request once.
    if !matches!(event["stage"].as_str(), Some("ResponseComplete" | "Panic")) {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let uri = text(&event["requestURI"]);
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    Some(AuditEvent {
        dry_run: query.split('&').any(|pair| pair.starts_with("dryRun=")),
        verb: text(&event["verb"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or(0) as u16,
        user: text(&event["user"]["username"]),
        agent: text(&event["userAgent"]),
        namespace: text(&event["objectRef"]["namespace"]),
        resource: text(&event["objectRef"]["resource"]),
        subresource: text(&event["objectRef"]["subresource"]),
        name: text(&event["objectRef"]["name"]),
        request_object: event.get("requestObject").cloned(),
        stage_timestamp: text(&event["stageTimestamp"]),
        uri,
    })
}
