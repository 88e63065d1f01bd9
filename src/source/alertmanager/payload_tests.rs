use super::*;
use proptest::prelude::*;
use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alertmanager");
    std::fs::read(folder.join(format!("{name}.json"))).unwrap()
}

fn good(name: &str) -> Webhook {
    parse(&fixture(name)).unwrap()
}

fn refused(name: &str) -> PayloadError {
    parse(&fixture(name)).unwrap_err()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A body of version 4 with these alerts, each as JSON.
fn body(alerts: &[&str]) -> Vec<u8> {
    format!(r#"{{"version":"4","groupKey":"{{}}:{{}}","alerts":[{}]}}"#, alerts.join(",")).into_bytes()
}

fn problem(alert: &str) -> AlertProblem {
    match parse(&body(&[alert])) {
        Err(PayloadError::Alert { index: 0, problem }) => problem,
        other => panic!("{other:?}"),
    }
}

const MINIMAL: &str = r#"{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-03-01T02:11:09Z"}"#;

#[test]
fn one_firing_alert_is_read_exactly() {
    let expected = Webhook {
        group_key: r#"{}:{alertname="PostgresPoolNearlyFull", env="production"}"#.to_owned(),
        receiver: "night.shift".to_owned(),
        truncated_alerts: 0,
        external_url: "http://alertmanager.example:9093".to_owned(),
        alerts: vec![WebhookAlert {
            firing: true,
            labels: labels(&[
                ("alertname", "PostgresPoolNearlyFull"),
                ("env", "production"),
                ("pool", "a\"b <&>"),
                ("severity", "critical"),
            ]),
            annotations: labels(&[
                ("runbook_url", "https://runbooks.example/postgres-pool"),
                ("summary", "Pool is 93% full"),
            ]),
            starts_at: Micros(1_772_331_069_123_456),
            ends_at: None,
            generator_url: "http://prometheus.example:9090/graph?g0.expr=x".to_owned(),
            fingerprint: "3b13522bb046f9aa".to_owned(),
        }],
        notification_reason: None,
    };
    assert_eq!(good("v0.25-firing-one"), expected);
    let younger = Webhook { notification_reason: Some("first notification".to_owned()), ..expected };
    assert_eq!(good("v0.34-firing-one"), younger);
}

#[test]
fn three_firing_alerts_are_three_alerts() {
    for (name, reason) in [("v0.25-firing-three", None), ("v0.34-firing-three", Some("new alerts added"))] {
        let webhook = good(name);
        assert_eq!(webhook.notification_reason.as_deref(), reason);
        let pods: Vec<_> = webhook.alerts.iter().map(|alert| (alert.labels["pod"].as_str(), alert.firing)).collect();
        assert_eq!(pods, [("p1", true), ("p2", true), ("p3", true)]);
        assert_eq!(webhook.alerts[1].annotations["summary"], "p2 restarts – ждём");
        assert_eq!(webhook.alerts[2].fingerprint, "fe7532488647e428");
    }
}

#[test]
fn a_resolve_has_its_end() {
    for name in ["v0.25-resolved", "v0.34-resolved"] {
        let webhook = good(name);
        let [alert] = &webhook.alerts[..] else { panic!("{webhook:?}") };
        assert!(!alert.firing);
        assert_eq!(alert.ends_at, Some(Micros(1_772_331_583_000_000)));
        assert_eq!(alert.fingerprint, good("v0.25-firing-one").alerts[0].fingerprint);
    }
}

#[test]
fn a_truncated_body_says_how_much_is_missing_whatever_its_status() {
    for name in ["v0.25-truncated", "v0.34-truncated"] {
        assert!(String::from_utf8(fixture(name)).unwrap().starts_with(r#"{"receiver":"cut","status":"resolved""#));
        let webhook = good(name);
        assert_eq!((webhook.truncated_alerts, webhook.alerts.len()), (3, 1));
        assert_eq!(webhook.group_key, r#"{}/{alertname="Many"}:{alertname="Many"}"#);
    }
}

#[test]
fn any_text_is_a_label_and_is_kept_as_it_came() {
    let webhook = good("v0.34-unicode-labels");
    let alert = &webhook.alerts[0];
    assert_eq!(alert.labels["k8s.io/café ☕"], "да");
    assert_eq!(alert.labels["note"], "safe \u{202e} gnp.exe\u{7}");
}

#[test]
fn what_is_not_alertmanagers_payload_is_refused_with_the_remedy() {
    for (name, reason, text) in [
        (
            "custom-payload",
            "not_version_4",
            "this is not Alertmanager's payload (version \"4\"; found none): does the receiver set `payload:`? Remove it",
        ),
        (
            "custom-payload-version-4",
            "missing_field",
            "the payload has no `alerts`: it was not written by Alertmanager",
        ),
        ("garbage", "not_json", "the body is not JSON: Alertmanager sends a JSON object, which begins with `{`"),
        ("cut-short", "not_json", "the body is not JSON, at line 1 column 700: does the receiver set `payload:`?"),
        ("empty", "empty", "the body is empty: Alertmanager sends a JSON object"),
        (
            "forged-fingerprint",
            "fingerprint",
            "alert 0 of the payload: its fingerprint `3b13522bb046f9aa` is not that of its labels, fd97cb036c72e70d: \
             the sender is not an Alertmanager",
        ),
    ] {
        let error = refused(name);
        assert_eq!((error.reason(), error.to_string().as_str()), (reason, text), "{name}");
    }
}

#[test]
fn a_wrong_shape_is_told_with_its_place_once() {
    let error = parse(br#"{"version": "4", "alerts": 7}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not Alertmanager's payload, at line 1 column 28: invalid type: integer `7`, expected a list of alerts"
    );
}

#[test]
fn deep_nesting_is_refused_and_uses_no_stack() {
    // 20,000 levels in a field that nobody reads are skipped; 300 where alerts should stand are the wrong shape.
    let error = refused("deep");
    assert!(matches!(&error, PayloadError::Shape { what, .. } if what.contains("expected a string")), "{error}");
    for open in ["[", "{\"a\":", "{\"labels\":", "{\"alerts\":[{\"labels\":"] {
        assert!(parse(open.repeat(1_000_000).as_bytes()).is_err());
    }
}

#[test]
fn fingerprints_are_alertmanagers() {
    for (pairs, expected) in [
        (&[][..], "cbf29ce484222325"),
        (&[("name", "garland, briggs"), ("fear", "love is not enough")], "507a62d79ee76c9a"),
        (&[("alertname", "HighErr"), ("cluster", "a\"b"), ("pod", "p1")], "6cd90da8e8f10998"),
        (&[("alertname", "HighErr"), ("cluster", "a\"b"), ("pod", "p3")], "6ce10da8e8f8db46"),
    ] {
        assert_eq!(fingerprint(&labels(pairs)), expected);
    }
}

#[test]
fn what_older_or_other_senders_leave_out_has_a_default() {
    let webhook = parse(&body(&[MINIMAL])).unwrap();
    assert_eq!((webhook.receiver.as_str(), webhook.external_url.as_str(), webhook.truncated_alerts), ("", "", 0));
    let alert = &webhook.alerts[0];
    assert_eq!((alert.ends_at, alert.generator_url.as_str(), alert.annotations.len()), (None, "", 0));
    assert_eq!(alert.fingerprint, fingerprint(&alert.labels));
    assert_eq!(parse(&body(&[])).unwrap().alerts, []);
    let null = MINIMAL.replace("}}", "}").replace("\"status\"", "\"annotations\":null,\"unknown\":[{}],\"status\"");
    assert_eq!(parse(&body(&[&null])).unwrap(), webhook);
}

#[test]
fn an_alert_that_cannot_be_trusted_refuses_the_body() {
    let with = |from: &str, to: &str| problem(&MINIMAL.replace(from, to));
    assert_eq!(with("firing", "pending"), AlertProblem::Status("pending".into()));
    assert_eq!(with("\"status\":\"firing\",", ""), AlertProblem::Status(String::new()));
    assert_eq!(with(r#"{"alertname":"A"}"#, "{}"), AlertProblem::NoLabels);
    assert_eq!(with(r#""labels":{"alertname":"A"},"#, ""), AlertProblem::NoLabels);
    assert_eq!(with("2026-03-01T02:11:09Z", "0001-01-01T00:00:00Z"), AlertProblem::NoStart);
    assert_eq!(with("2026-03-01T02:11:09Z", ""), AlertProblem::NoStart);
    let time = AlertProblem::Time { field: "startsAt", text: "yesterday".into() };
    assert_eq!(with("2026-03-01T02:11:09Z", "yesterday"), time);
    for wrong in ["cbf29ce484222325", "", "CBF29CE484222325", "+bf29ce484222325", "0"] {
        let alert = MINIMAL.replace("\"status\"", &format!("\"fingerprint\":\"{wrong}\",\"status\""));
        assert_eq!(parse(&body(&[&alert])).is_ok(), wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn a_missing_group_key_is_refused() {
    let without = String::from_utf8(body(&[MINIMAL])).unwrap().replace(r#""groupKey":"{}:{}","#, "");
    assert_eq!(parse(without.as_bytes()).unwrap_err(), PayloadError::Missing { field: "groupKey" });
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    for (from, to, what) in [
        ("\"4\"", "4", "expected a string"),
        ("\"A\"", "7", "expected a string"),
        ("\"groupKey\"", "\"truncatedAlerts\":-1,\"groupKey\"", "expected u64"),
    ] {
        let wrong = String::from_utf8(body(&[MINIMAL])).unwrap().replacen(from, to, 1);
        let error = parse(wrong.as_bytes()).unwrap_err();
        assert!(matches!(&error, PayloadError::Shape { line: 1, .. }) && error.to_string().contains(what), "{error}");
    }
}

#[test]
fn the_bounds_hold_to_the_one() {
    let alerts = |count: usize| body(&vec![MINIMAL; count]);
    assert_eq!(parse(&alerts(MAX_ALERTS)).unwrap().alerts.len(), MAX_ALERTS);
    assert_eq!(parse(&alerts(MAX_ALERTS + 1)).unwrap_err(), PayloadError::TooManyAlerts);
    let keyed = |bytes: usize| {
        let text = String::from_utf8(body(&[MINIMAL])).unwrap();
        let key = parse(text.as_bytes()).unwrap().group_key;
        text.replace(&serde_json::to_string(&key).unwrap(), &format!("{:?}", "k".repeat(bytes)))
    };
    assert_eq!(parse(keyed(MAX_GROUP_KEY).as_bytes()).unwrap().group_key.len(), MAX_GROUP_KEY);
    assert_eq!(parse(keyed(MAX_GROUP_KEY + 1).as_bytes()).unwrap_err(), PayloadError::GroupKeyTooLong);
    let many = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("\"l{n}\":\"\"")).collect();
        body(&[&MINIMAL.replace(r#""alertname":"A""#, &list.join(","))])
    };
    assert!(parse(&many(MAX_LABELS)).is_ok());
    assert!(parse(&many(MAX_LABELS + 1)).unwrap_err().to_string().ends_with("more than 512 labels or annotations"));
    let long = |bytes: usize| body(&[&MINIMAL.replace("\"A\"", &format!("\"{}\"", "x".repeat(bytes)))]);
    assert!(parse(&long(MAX_TEXT)).is_ok());
    let refused = parse(&long(MAX_TEXT + 1)).unwrap_err();
    assert_eq!(refused, PayloadError::Alert { index: 0, problem: AlertProblem::TextTooLong });
}

#[test]
fn a_receivers_name_is_as_the_configuration_has_it() {
    for (escaped, name) in [
        (r"night\.shift", "night.shift"),
        ("plain", "plain"),
        (r"a\\b\(c\)\[\]\{\}\^\$\*\+\?\|", r"a\b(c)[]{}^$*+?|"),
        (r"not\-escaped\", r"not\-escaped\"),
        (r"\\.", r"\."),
    ] {
        assert_eq!(unescape_receiver(escaped), name);
    }
}

#[test]
fn refusals_are_short_and_hold_no_control_characters() {
    let evil = format!("\u{1b}[31m\u{202e}{}", "x".repeat(100_000));
    let version = serde_json::json!({ "version": evil }).to_string();
    let status = serde_json::json!({"version": "4", "groupKey": "k", "alerts": [{"status": evil}]}).to_string();
    let shape = serde_json::json!({ "version": "4", "alerts": evil }).to_string();
    for body in [version, status, shape] {
        let text = parse(body.as_bytes()).unwrap_err().to_string();
        assert!(text.len() < 600 && !text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_damage_to_a_real_body_makes_it_panic(
        cut in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = fixture("v0.34-firing-three");
        let place = place.index(bytes.len());
        bytes[place] = value;
        let _ = parse(&bytes);
        let _ = parse(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_labels_come_back_as_they_were_sent(map in proptest::collection::btree_map(".{1,12}", ".{0,12}", 1..6)) {
        let alert = serde_json::json!({
            "status": "resolved", "labels": map, "startsAt": "2026-03-01T02:11:09Z", "fingerprint": fingerprint(&map),
        });
        let webhook = parse(&body(&[&alert.to_string()])).unwrap();
        prop_assert_eq!(&webhook.alerts[0].labels, &map);
    }
}
