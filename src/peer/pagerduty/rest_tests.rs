use super::*;
use crate::{
    http::client::{Client, ClientSettings},
    model::alert::Source,
    peer::stub::{Asked, Stub, nobody},
};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(5);

fn api(url: &str, from: Option<&str>) -> PagerDutyApi {
    let http = Client::build(&ClientSettings::default()).unwrap();
    PagerDutyApi::new(http, url, "u+secret".into(), from.map(str::to_owned))
}

fn asked(id: &str) -> AskedAlert {
    AskedAlert {
        fingerprint: Fingerprint::new(id),
        source: Source::PagerDuty,
        starts_at: Micros(5),
        labels: BTreeMap::new(),
    }
}

fn answer(asked: &Asked) -> (u16, String) {
    let incident = |id: &str, status: &str, key: Value| json!({"id": id, "status": status, "incident_key": key});
    let body = match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/incidents/PTRIG") => json!({"incident": incident("PTRIG", "triggered", Value::Null)}),
        ("GET", "/incidents/PACK") => json!({"incident": incident("PACK", "acknowledged", json!("k1"))}),
        ("GET", "/incidents/PRES") => json!({"incident": incident("PRES", "resolved", Value::Null)}),
        ("GET", "/incidents/PBUSY") => return (503, "{}".to_owned()),
        ("GET", "/incidents/PODD") => json!({"incident": {"id": "PODD"}}),
        ("GET", "/incidents/PTRIG/alerts") => json!({"alerts": [{"alert_key": "k2"}, {"alert_key": null}, {}]}),
        ("GET", "/incidents/PACK/alerts") => json!({"alerts": []}),
        ("GET", "/incidents") => json!({"incidents": [
            incident("POLD", "resolved", json!("k1")), incident("PACK", "acknowledged", json!("k1"))]}),
        ("GET", "/incidents/PACK/notes") => json!({"notes": [{"content": "one"}, {"content": "two"}, {}]}),
        ("POST", "/incidents/PACK/notes") => json!({"note": {"id": "PN"}}),
        _ => return (404, json!({"error": {"message": "Not Found", "code": 2100}}).to_string()),
    };
    (200, body.to_string())
}

#[tokio::test]
async fn triggered_and_acknowledged_fire_and_what_cannot_be_asked_is_not_known() {
    let stub = Stub::start(answer).await;
    let all = [asked("PTRIG"), asked("PACK"), asked("PRES"), asked("PGONE"), asked("PBUSY"), asked("PODD")];
    let FiringAnswer::Answered { at, alerts } = api(&stub.url, None).ask(&all, Micros(7), WITHIN).await else {
        panic!()
    };
    let active = Firing::Active { starts_at: Micros(5) };
    let wanted = [
        ("PTRIG", active.clone()),
        ("PACK", active),
        ("PRES", Firing::Absent),
        ("PGONE", Firing::Absent),
        ("PBUSY", Firing::Unprocessed),
        ("PODD", Firing::Unprocessed),
    ];
    assert_eq!((at, alerts), (Micros(7), wanted.map(|(id, firing)| (Fingerprint::new(id), firing)).into()));
}

#[tokio::test]
async fn nobody_there_is_not_resolved() {
    let answer = api(&nobody().await, None).ask(&[asked("PTRIG")], Micros(7), WITHIN).await;
    let FiringAnswer::Unreachable { problem } = answer else { panic!("{answer:?}") };
    assert!(problem.contains("connect") && !problem.contains("127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn an_incidents_keys_are_its_own_and_its_alerts() {
    let stub = Stub::start(answer).await;
    let api = api(&stub.url, None);
    assert_eq!(api.keys("PTRIG", WITHIN).await.unwrap(), ["k2"]);
    assert_eq!(api.keys("PACK", WITHIN).await.unwrap(), ["k1"]);
    assert!(api.keys("PBUSY", WITHIN).await.is_err());
    api.keys("a/../b?x=1", WITHIN).await.unwrap_err();
    let last = stub.asked().last().unwrap().path.clone();
    assert_eq!(last, "/incidents/a%2F..%2Fb%3Fx%3D1/alerts", "an id is no path");
}

#[tokio::test]
async fn of_several_with_a_key_the_open_one_is_found() {
    let stub = Stub::start(answer).await;
    let found = api(&stub.url, None).find("k1 &", Instant::now() + WITHIN).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.is_open), ("PACK", true));
    assert!(stub.asked()[0].query.contains("incident_key=k1%20%26"));
}

#[tokio::test]
async fn a_note_is_written_in_a_users_name() {
    let stub = Stub::start(answer).await;
    let until = Instant::now() + WITHIN;
    let known = api(&stub.url, Some("ana@example.com"));
    assert_eq!(known.notes("PACK", until).await.unwrap(), ["one", "two"]);
    known.add_note("PACK", "three", until).await.unwrap();
    assert!(matches!(api(&stub.url, None).add_note("PACK", "x", until).await, Err(Failure::Permanent { .. })));
    let written: Vec<String> =
        stub.asked().iter().filter(|asked| asked.method != "GET").map(|asked| asked.body.clone()).collect();
    assert_eq!(written, [r#"{"note":{"content":"three"}}"#]);
}

#[tokio::test]
async fn somebody_has_only_what_nobody_had() {
    let closed = std::sync::atomic::AtomicBool::new(false);
    let stub = Stub::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        // Closed between the look and the call.
        ("PUT", "/incidents/PLATE") => {
            closed.store(true, std::sync::atomic::Ordering::SeqCst);
            (400, json!({"error": {"message": "Incident Already Resolved", "code": 1001}}).to_string())
        }
        ("GET", "/incidents/PLATE") => {
            let status = if closed.load(std::sync::atomic::Ordering::SeqCst) { "resolved" } else { "triggered" };
            (200, json!({"incident": {"id": "PLATE", "status": status}}).to_string())
        }
        ("PUT", _) => (200, "{}".to_owned()),
        _ => answer(asked),
    })
    .await;
    let until = Instant::now() + WITHIN;
    let known = api(&stub.url, Some("ana@example.com"));
    for id in ["PTRIG", "PACK", "PRES", "PGONE", "PLATE"] {
        known.acknowledge(id, until).await.unwrap();
    }
    let set: Vec<(String, String)> =
        stub.asked().iter().filter(|it| it.method != "GET").map(|it| (it.path.clone(), it.body.clone())).collect();
    let body = r#"{"incident":{"status":"acknowledged","type":"incident_reference"}}"#;
    let both = ["/incidents/PTRIG", "/incidents/PLATE"].map(|path| (path.to_owned(), body.to_owned()));
    assert_eq!(set, both, "what is resolved would be reopened");
    assert!(matches!(known.acknowledge("PODD", until).await, Err(Failure::Transient { .. })), "not known: not set");
    let nobody = api(&stub.url, None).acknowledge("PTRIG", until).await;
    assert!(matches!(nobody, Err(Failure::Permanent { reason: "no_from", .. })));
}

#[tokio::test]
async fn a_token_that_was_replaced_is_used_from_then_on() {
    let stub = Stub::start(answer).await;
    let known = api(&stub.url, None);
    known.replace_token("u+new".into());
    known.token_replaced().await;
    known.may_ask(Instant::now() + WITHIN).await.unwrap();
    let asked = stub.asked().pop().unwrap();
    assert_eq!(asked.authorization, "Token token=u+new");
}
