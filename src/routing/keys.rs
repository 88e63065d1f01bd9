//! Keys that an alertmanager.yml may have, in the parts that are read here. Alertmanager refuses a file with any other.
//!
//! A key that is almost a known one is a slip, and what it should say counts as not said. Any other may belong to a newer
//! Alertmanager than we know (0.34): that is told, and refuses nothing.

use crate::{
    config::{
        node::{Kind, Node},
        suggest,
    },
    model::problem::Problem,
    telemetry::text::shortened,
};

const TOP: &[&str] =
    &["global", "templates", "route", "receivers", "inhibit_rules", "mute_time_intervals", "time_intervals", "tracing"];
const ROUTE: &[&str] = &[
    "receiver",
    "group_by",
    "continue",
    "matchers",
    "match",
    "match_re",
    "mute_time_intervals",
    "active_time_intervals",
    "routes",
    "group_wait",
    "group_interval",
    "repeat_interval",
];
const RECEIVER: &[&str] = &[
    "name",
    "discord_configs",
    "email_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pagerduty_configs",
    "pushover_configs",
    "rocketchat_configs",
    "slack_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "webhook_configs",
    "wechat_configs",
];
const WEBHOOK: &[&str] = &["send_resolved", "http_config", "url", "url_file", "max_alerts", "timeout"];
const PAGERDUTY: &[&str] = &[
    "send_resolved",
    "http_config",
    "routing_key",
    "routing_key_file",
    "service_key",
    "service_key_file",
    "url",
    "client",
    "client_url",
    "description",
    "details",
    "images",
    "links",
    "source",
    "severity",
    "class",
    "component",
    "group",
    "timeout",
];
const HTTP: &[&str] = &[
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "follow_redirects",
    "enable_http2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "http_headers",
];
const AUTHORIZATION: &[&str] = &["type", "credentials", "credentials_file", "credentials_ref"];
const BASIC_AUTH: &[&str] = &["username", "username_file", "username_ref", "password", "password_file", "password_ref"];
const INHIBIT: &[&str] = &[
    "name",
    "source_match",
    "source_match_re",
    "source_matchers",
    "target_match",
    "target_match_re",
    "target_matchers",
    "equal",
];

/// Every key of the file that is none.
pub(super) fn unknown(file: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let found = &mut problems;
    known(found, file, TOP);
    if let Some(global) = file.get("global") {
        http(found, global);
    }
    if let Some(route) = file.get("route") {
        routes(found, route);
    }
    for rule in items(file.get("inhibit_rules")) {
        known(found, rule, INHIBIT);
    }
    for receiver in items(file.get("receivers")) {
        known(found, receiver, RECEIVER);
        for (key, keys) in [("webhook_configs", WEBHOOK), ("pagerduty_configs", PAGERDUTY)] {
            for config in items(receiver.get(key)) {
                known(found, config, keys);
                http(found, config);
            }
        }
    }
    problems
}

fn routes(found: &mut Vec<Problem>, route: &Node) {
    known(found, route, ROUTE);
    for child in items(route.get("routes")) {
        routes(found, child);
    }
}

fn http(found: &mut Vec<Problem>, around: &Node) {
    let Some(config) = around.get("http_config") else { return };
    known(found, config, HTTP);
    for (key, keys) in [("authorization", AUTHORIZATION), ("basic_auth", BASIC_AUTH)] {
        if let Some(inner) = config.get(key) {
            known(found, inner, keys);
        }
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.kind) {
        Some(Kind::List(items)) => items,
        Some(Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_)) | None => &[],
    }
}

fn known(found: &mut Vec<Problem>, node: &Node, keys: &[&str]) {
    let Kind::Map(entries) = &node.kind else { return };
    for (key, _) in entries.iter().filter(|(key, _)| !keys.contains(&key.text.as_str())) {
        let shown = shortened(&key.text, 60);
        found.push(match suggest::closest(&key.text, keys.iter().copied()) {
            Some(meant) => key
                .place
                .error(format!("unknown key `{shown}`: Alertmanager refuses it"))
                .hint(format!("did you mean `{meant}`?")),
            None => key
                .place
                .warning(format!("unknown key `{shown}`: Alertmanager refuses it, unless it is newer than 0.34"))
                .hint("`amtool check-config` of your Alertmanager knows"),
        });
    }
}
