//! Stories of a rollback: what was deployed lately and broke it goes back, in shadow nothing does, and what forbids it is
//! shown to people.

use serde_json::{Value, json};

use crate::stage::{Rules, SOON, Stage};
use crate::story::story;

const UNDO: Rules = Rules {
    mode: "auto",
    action: "kubernetes/undo",
    with: "{to: previous}",
    fires_for: "0s",
    settle: "1s",
    resolved_within: "40s",
    quiet: "6s",
    limits: "10 per 1h",
    query: "",
};

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

/// A Deployment whose second revision breaks it. The alert comes a second later at least: times of objects have whole ones.
async fn deployed_badly(name: &str, template: Option<Value>) -> Stage {
    let stage = Stage::set(name).await;
    stage.namespace.deployment("web", 2).ready().await;
    if let Some(template) = template {
        stage.namespace.patch("deployment", "web", &json!({"spec": {"template": template}})).await;
    }
    stage.namespace.patch("deployment", "web", &image("example.invalid/app:2")).await;
    stage.namespace.until_rolled_out("web").await;
    stage
}

async fn image_of(stage: &Stage) -> Value {
    stage.namespace.object("deployment", "web").await["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[test]
fn a_bad_deployment_is_rolled_back_once_and_a_person_may_take_that_back() {
    story(&[], async || {
        let stage = deployed_badly("rolled_back", None).await;
        let night = stage.nightshift(&UNDO).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        assert_eq!(image_of(&stage).await, "example.invalid/app:1");
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["revision 2 → 1 (app: example.invalid/app:2 → example.invalid/app:1)", "Helped"]).await;
        assert_eq!(stage.namespace.acts().await.len(), 1);

        night.does("ana", &["undo", "1.1"]).await;
        let second = |web: &Value| match web["spec"]["template"]["spec"]["containers"][0]["image"].as_str() {
            Some("example.invalid/app:2") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        stage.namespace.until("deployment", "web", SOON, second).await;
        night.stop().await;
        assert_eq!(stage.namespace.acts().await.len(), 2);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn shadow_proves_a_rollback_by_a_dry_run_and_changes_nothing() {
    story(&["no rule of P1 acts, and only what acts pages people"], async || {
        let stage = deployed_badly("shadow_rollback", None).await;
        let night = stage.nightshift(&Rules { mode: "shadow", ..UNDO }).await;
        stage.load_rises();
        night.until_step("dropped").await;
        stage.until_reply(&["Shadow: would have done revision 2 → 1", "the API server's dry run accepts it"]).await;
        night.stop().await;
        assert_eq!(stage.namespace.acts().await.len(), 0);
        let writes = stage.namespace.writes().await;
        assert!(writes.len() == 1 && writes[0].dry_run, "{writes:#?}");
        assert_eq!(image_of(&stage).await, "example.invalid/app:2");
    });
}

#[test]
fn what_forbids_a_rollback_is_shown_to_people() {
    story(&["page: a person is needed"], async || {
        let forbids = json!({"metadata": {"annotations": {"nightshift.dev/no-rollback": "migration 42 went with it"}}});
        let stage = deployed_badly("forbidden_rollback", Some(forbids)).await;
        let night = stage.nightshift(&UNDO).await;
        stage.load_rises();
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("no_rollback"), "{step:#?}");
        stage.until_paged("must not be rolled back: migration 42 went with it").await;
        let said = night.does("ana", &["why", "1"]).await;
        assert!(
            said.contains("blocked by  no rollback, for good") && said.contains("migration 42 went with it"),
            "{said}"
        );
        night.stop().await;
        assert_eq!(stage.namespace.acts().await.len(), 0);
    });
}
