use super::*;
use crate::{
    engine::testing::Bench,
    http::{
        api::{
            routes::router,
            testing::{admin, asking, it_is_observed, slow_fires},
        },
        api_auth::ApiAuth,
        server::Server,
    },
    model::{input::Input, observation::Moment},
};
use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinSet};

/// A daemon's admin listener on loopback, for as long as it lives.
struct Running {
    bench: Bench,
    url: String,
    _server: JoinSet<()>,
}

impl Running {
    async fn start() -> Running {
        Running::with(asking()).await
    }

    async fn with(policy: Arc<crate::decide::Policy>) -> Running {
        let bench = Bench::with(policy).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::new(listener, router(admin(&bench, ApiAuth::loopback())));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            server.run(std::future::pending()).await;
        });
        Running { bench, url, _server: tasks }
    }

    async fn type_in(&self, line: &[&str]) -> Said {
        let mut arguments = line.to_vec();
        arguments.extend(["--url", &self.url, "--as", "ana"]);
        type_in(&arguments).await
    }
}

struct Said {
    exit: Exit,
    out: String,
    err: String,
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

async fn type_in(line: &[&str]) -> Said {
    let (out, err) = (Paper::default(), Paper::default());
    let mut output = Output::to(Box::new(out.clone()), Box::new(err.clone()));
    let exit = match Cli::try_parse_from(std::iter::once(&"nightshift").chain(line)) {
        Ok(cli) => run(cli, &mut output).await,
        Err(error) => output.usage(&error),
    };
    Said { exit, out: out.text(), err: err.text() }
}

/// The text is the file's, to the letter. `NIGHTSHIFT_GOLDEN=write` writes it anew.
#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cli").join(name);
    if std::env::vars().any(|(name, value)| name == "NIGHTSHIFT_GOLDEN" && value == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[tokio::test]
async fn why_of_a_step_that_waits_for_an_approval() {
    let running = Running::start().await;
    let step = slow_fires(&running.bench).await;
    it_is_observed(&running.bench, step, 4).await;
    let said = running.type_in(&["why", "1"]).await;
    assert_eq!((said.exit, said.err.as_str()), (Exit::Fine, ""));
    assert_golden("why-asking.txt", &said.out);
    let said = running.type_in(&["why", "00000000000000aa"]).await;
    assert_golden("why-alert.txt", &said.out);
    let said = running.type_in(&["incident", "1"]).await;
    assert_golden("incident.txt", &said.out);
    let said = running.type_in(&["incidents"]).await;
    assert_golden("incidents.txt", &said.out);
    let said = running.type_in(&["status"]).await;
    assert_golden("status.txt", &said.out);
}

#[tokio::test]
async fn why_of_a_step_that_may_not_act() {
    let running = Running::start().await;
    let step = slow_fires(&running.bench).await;
    it_is_observed(&running.bench, step, 0).await;
    assert_golden("why-switched-off.txt", &running.type_in(&["why", "1"]).await.out);
}

#[tokio::test]
async fn why_of_a_step_that_is_held() {
    let running = Running::start().await;
    let step = slow_fires(&running.bench).await;
    let nothing = Err("the API server does not answer".to_owned());
    let looked = Input::Observed { step, moment: Moment::ForPlan, result: nothing };
    running.bench.handle.result(looked).await.unwrap();
    assert_golden("why-held.txt", &running.type_in(&["why", "1"]).await.out);
}

#[tokio::test]
async fn why_of_an_alert_that_no_rule_matches_says_how_to_mend_it() {
    let running = Running::start().await;
    let Input::Alert(mut alert) = crate::engine::testing::firing("Unheard", crate::engine::testing::MORNING) else {
        unreachable!()
    };
    alert.fingerprint = crate::model::id::Fingerprint::new("00000000000000bb");
    running.bench.handle.intake(vec![Input::Alert(alert)]).await.unwrap();
    assert_golden("why-unmatched.txt", &running.type_in(&["why", "00000000000000BB"]).await.out);
}

#[tokio::test]
async fn an_approval_shows_the_plan_and_is_journalled_under_the_users_name() {
    let running = Running::start().await;
    let step = slow_fires(&running.bench).await;
    it_is_observed(&running.bench, step, 4).await;
    let said = running.type_in(&["approve", "1.1"]).await;
    assert_eq!(said.exit, Exit::Usage, "nobody is at a terminal");
    assert!(said.out.contains("replicas 4 → 6") && said.err.contains("--yes"), "{}{}", said.out, said.err);
    let said = running.type_in(&["approve", "1.1", "--yes"]).await;
    assert_eq!((said.exit, said.err.as_str()), (Exit::Fine, ""));
    assert!(said.out.contains("step 1.1 approved, by local:ana"), "{}", said.out);
    let said = running.type_in(&["approve", "1.1", "--yes"]).await;
    assert_eq!(said.exit, Exit::Failed);
    assert_eq!(said.err, "error: local:ana has approved step 1.1 already (it is observing)\n");
}

#[tokio::test]
async fn whoever_gives_no_name_is_told_how_to() {
    let running = Running::start().await;
    // A name that cannot be sent is none.
    let said = type_in(&["pause", "odd graphs", "--url", &running.url, "--as", ""]).await;
    assert!(said.out.contains("by local:anonymous") && said.out.contains("--as NAME"), "{}", said.out);
    let said = running.type_in(&["resume"]).await;
    assert!(!said.out.contains("--as"), "{}", said.out);
}

#[tokio::test]
async fn people_command_and_are_told_what_came_of_it() {
    let running = Running::start().await;
    slow_fires(&running.bench).await;
    for (line, out) in [
        (&["ack", "1"][..], "incident 1 acknowledged, by local:ana"),
        (&["reject", "1.1"], "step 1.1 rejected, by local:ana"),
        (&["rearm", "slow", "web"], "rule slow rearmed, by local:ana"),
        (&["pause", "odd graphs"], "paused: nothing acts until `nightshift resume`, by local:ana"),
        (&["resume"], "resumed, by local:ana"),
        (&["resolve", "1"], "incident 1 resolved, by local:ana"),
    ] {
        let said = running.type_in(line).await;
        assert_eq!((said.exit, said.err.as_str()), (Exit::Fine, ""), "{line:?}");
        assert!(said.out.starts_with(out), "{line:?}: {}", said.out);
        if line[0] == "resolve" {
            let note = "\n1 alert still fires: it opens no incident until it has resolved and fires anew\n";
            assert!(said.out.ends_with(note), "{}", said.out);
        }
    }
    let said = running.type_in(&["why", "00000000000000aa"]).await;
    assert!(said.out.contains("its incident is resolved; 1 alert still fires: it opens no"), "{}", said.out);
    for (line, err) in [
        (&["ack", "9"][..], "error: there is no incident 9\n"),
        (&["undo", "1.1"], "error: step 1.1 has changed nothing (it is dropped)\n"),
        (&["resume"], "error: "),
    ] {
        let said = running.type_in(line).await;
        assert_eq!(said.exit, Exit::Failed, "{line:?}");
        assert!(said.err.starts_with(err), "{line:?}: {}", said.err);
    }
    let said = running.type_in(&["incidents", "--state", "all", "--json"]).await;
    let list: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(list["incidents"][0]["state"], "resolved");
    assert_eq!(list.get("text"), None, "scripts do not read what is for people");
    let said = running.type_in(&["why", "1", "--json"]).await;
    assert!(!said.out.contains("\"text\""), "{}", said.out);
}

#[tokio::test]
async fn a_step_without_a_plan_says_what_it_wants() {
    let mut spec = asking().spec.clone();
    spec.rules[1].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"});
    spec.rules[1].fires_for = crate::model::time::Span::minutes(1);
    let running = Running::with(Arc::new(crate::decide::Policy::new(spec).unwrap())).await;
    slow_fires(&running.bench).await;
    assert_golden("why-young.txt", &running.type_in(&["why", "1"]).await.out);
}

#[tokio::test]
async fn without_a_daemon_it_says_how_to_start_one() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let said = type_in(&["status", "--url", &format!("http://{free}")]).await;
    assert_eq!(said.exit, Exit::Failed);
    assert_eq!(
        said.err,
        format!(
            "error: asking the daemon at http://{free}: cannot connect\n\
             hint: is the daemon running? `nightshift serve` starts it; --url says where it is\n"
        )
    );
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_help_is_0() {
    for line in [&["incident"][..], &["incident", "x"], &["nothing"], &["lease", "extend", "1.1", "soon"], &[]] {
        let said = type_in(line).await;
        assert_eq!((said.exit.code(), said.out.as_str()), (64, ""), "{line:?}");
    }
    assert_eq!(type_in(&["--help"]).await.exit, Exit::Fine);
    assert!(type_in(&["--version"]).await.out.starts_with("nightshift "));
}

#[test]
fn explain_tells_rule_incident_ladder_and_the_guards_that_are_known() {
    let body = include_bytes!("../../fixtures/alertmanager/v0.34-firing-three.json");
    let now = crate::engine::testing::MORNING;
    let mut spec = asking().spec.clone();
    spec.rules[1].matchers.clear();
    spec.rules[1].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"});
    let policy = crate::decide::Policy::new(spec).unwrap();
    assert_golden("explain.txt", &explain::explained(&policy, body, now).unwrap());
    let told = explain::explained(&policy, b"{}", now).unwrap_err();
    assert!(told.what.starts_with("it would be answered 400: "), "{}", told.what);
}
