//! The whole way: Alertmanager sends, the daemon frees the database, and says how many sessions really ended.

use crate::{
    bench::{Bench, SOON, pids},
    support::{hermetic, peers::Alertmanager, wait_until},
};
use nightshift::{app::App, config::Settings, model::view::IncidentView};
use serde_json::json;
use std::path::Path;

struct Daemon {
    app: App,
    alertmanager: Alertmanager,
}

impl Daemon {
    /// With the rule `full`, as `remediate` and `mode` say.
    async fn start(bench: &Bench, folder: &Path, mode: &str, with: &str) -> Daemon {
        let [webhooks] = crate::support::supervised::free_ports();
        let alertmanager = Alertmanager::start(&format!(
            "route: {{receiver: nightshift, group_wait: 0s, group_interval: 1s, repeat_interval: 5m}}\n\
             receivers:\n- name: nightshift\n  webhook_configs:\n  - url: http://127.0.0.1:{webhooks}/webhooks/alertmanager\n"
        ))
        .await;
        let rules = format!(
            "settle_after_start: 0s\ntargets: {{claims: {{postgres: claims-db}}}}\nrules:\n- name: full\n  \
             match: [alertname=DatabaseFull]\n  mode: {mode}\n  remediate:\n  - action: postgres/kill_idle\n    \
             target: claims\n    with: {with}\n    verify: {{settle: 30s, resolved_within: 2m}}\n\
             - {{name: rest, match: []}}\n"
        );
        std::fs::write(folder.join("rules.yaml"), rules).unwrap();
        std::fs::write(folder.join("url"), bench.server.url_of("watch", "claims")).unwrap();
        let settings = format!(
            "mode: auto\nlisten: {{webhooks: '127.0.0.1:{webhooks}', admin: '127.0.0.1:0'}}\nrules: '{0}/rules.yaml'\n\
             journal: 'sqlite:{0}/nightshift.db'\npostgres: {{claims-db: {{url_file: '{0}/url'}}}}\n\
             alertmanager: {{urls: ['{1}']}}\n",
            folder.display(),
            alertmanager.server().url()
        );
        let (settings, _) = Settings::from_layers(Some(("n.yaml", &settings)), std::iter::empty()).unwrap();
        let app = App::start(settings, None).await.unwrap_or_else(|error| panic!("{error:?}"));
        Daemon { app, alertmanager }
    }

    async fn until(&self, what: &str, holds: impl Fn(&IncidentView) -> bool) -> IncidentView {
        wait_until(what, SOON, async || {
            let newest = self.app.engine.read(|seen| {
                let id = seen.state.incident_ids().into_iter().next();
                id.and_then(|id| seen.state.incident_view(seen.policy, id, seen.now))
            });
            match newest.await.unwrap() {
                Some(incident) if holds(&incident) => Ok(incident),
                other => Err(format!("{other:#?}")),
            }
        })
        .await
    }

    async fn fires(&self) {
        self.alertmanager.post_alerts(&json!([{"labels": {"alertname": "DatabaseFull", "severity": "P1"}}])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_frees_the_database_and_people_hear_how_many_sessions_ended() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let idle = [bench.client().await, bench.client().await];
    let mut kept = bench.client_of("app", "batch").await;
    let works = bench.client().await.begins("SELECT pg_sleep(600)");
    bench.hand("postgres/kill_idle", json!({"idle_for": "1s", "allow": "batch"})).plan(2).await;
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&bench, folder.path(), "auto", "{idle_for: 1s, allow: [batch]}").await;
    daemon.fires().await;
    let is_verifying = |incident: &IncidentView| incident.steps.last().is_some_and(|step| step.phase == "verifying");
    let incident = daemon.until("a step that is verified", is_verifying).await;
    let step = &incident.steps[0];
    assert_eq!(step.target, "postgres/claims-db");
    assert!(step.says.starts_with("2 of 2 sessions are ended: done; being verified"), "{}", step.says);
    assert!(step.undo_until.is_none());
    assert_eq!(incident.evidence.len(), 1, "collected before they ended");
    assert!(incident.evidence[0].summary.contains("3 idle"), "{:?}", incident.evidence);
    let metrics = daemon.app.metrics.encode();
    assert!(metrics.contains("\nnightshift_sessions_killed_total 2\n"), "{metrics}");
    assert_eq!(bench.terminated(), pids(&idle));
    assert!(kept.lives().await);
    bench.sees_pid(works.pid, "state = 'active'").await;
    daemon.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_the_database_is_asked_and_nobody_ends() {
    if hermetic() {
        return;
    }
    let bench = Bench::new().await;
    let idle = [bench.client().await, bench.client().await];
    bench.hand("postgres/kill_idle", json!({"idle_for": "1s"})).plan(2).await;
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&bench, folder.path(), "shadow", "{idle_for: 1s}").await;
    daemon.fires().await;
    let is_over = |incident: &IncidentView| incident.steps.last().is_some_and(|step| step.phase == "dropped");
    let incident = daemon.until("a step that is over", is_over).await;
    let step = &incident.steps[0];
    assert_eq!(step.says, "would have done this; not measured (shadow)", "{step:#?}");
    assert!(step.summary.as_ref().unwrap().starts_with("end 2 sessions idle for 1s (app 2)"), "{step:#?}");
    daemon.app.stop().await.unwrap();
    assert_eq!((bench.terminated().len(), bench.pids()), (0, pids(&idle)));
}
