//! Stories of the switches: the pause file, a pause by signal or command, and a reload.

use std::time::Duration;

use nightshift::model::event::Event;
use nightshift::model::input::{Command, Via};

use crate::night::Nightshift;
use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::wait_until;

/// Acting stops within this, everywhere.
const AT_ONCE: Duration = Duration::from_secs(1);
const PAUSED: &[&str] = &["paused: nothing acts", "page: a person is needed"];

#[test]
fn a_pause_file_stops_what_waits_within_a_second_and_resuming_does_not_bring_it_back() {
    story(PAUSED, async || {
        let stage = Stage::set("pause_file").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { fires_for: "4s", ..Rules::default() }).await;
        stage.load_rises();
        night.until_step("holding").await;
        std::fs::write(stage.file("pause"), "").unwrap();
        wait_until("it is paused", AT_ONCE, async || {
            if night.app.engine.pause_flag().is_set() { Ok(()) } else { Err("not paused".to_owned()) }
        })
        .await;
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("paused"), "{step:#?}");
        // While the file is there nobody resumes it.
        let refused = night.types("ana", &["resume"]).await;
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        assert!(refused.complains.contains("the pause file is still there"), "{refused:#?}");
        std::fs::remove_file(stage.file("pause")).unwrap();
        night.does("ana", &["resume"]).await;
        stage.until_paged("paused by").await;
        stage.load_falls();
        let incident = night.until_state("resolved").await;
        assert_eq!(incident.steps.len(), 1, "the backlog is dropped: {incident:#?}");
        // What comes new is acted on again.
        stage.load_rises();
        stage.until_acted().await;
        night.stop().await;
        stage.assert_acts(1).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_pause_by_signal_is_journalled_and_voids_what_was_asked() {
    story(PAUSED, async || {
        let stage = Stage::set("pause_signal").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        stage.load_rises();
        let step = night.until_step("asking").await;
        let pause = Command::Pause { reason: "SIGUSR1".to_owned() };
        night.command("signal", Via::Signal, pause).await;
        let late = night.approve("ana", &step).await;
        assert!(late.iter().all(|event| matches!(event, Event::CommandRefused { .. })), "{late:?}");
        let step = night.until_step("dropped").await;
        assert_eq!(step.reason.as_ref().map(|reason| reason.word()), Some("paused"), "{step:#?}");
        let kept = night.stop().await;
        assert!(kept.events().any(|event| matches!(event, Event::Paused { by, .. } if by == "signal")));
        stage.assert_acts(0).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn bad_rules_are_refused_with_every_problem_and_the_old_ones_act_on() {
    let troubles = ["the reload was refused", "rules.yaml:", "the new rules were refused"];
    story(&troubles, async || {
        let stage = Stage::set("bad_reload").await;
        stage.namespace.deployment("web", 2).ready().await;
        let rules = Rules::default();
        let night = stage.nightshift(&rules).await;
        let before = policy(&night).await;

        let good = rules.text(&stage.namespace.name);
        stage.write_rules(&good.replace("kubernetes/scale", "kubernetes/scael").replace("6s", "six"));
        let (status, said) = reload(&night).await;
        assert_eq!(status, 422, "{said}");
        assert!(said.contains("kubernetes/scael") && said.contains("six"), "both problems at once: {said}");
        assert_eq!(policy(&night).await, before);
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        assert_eq!(stage.replicas().await, 4, "by the old rules");

        stage.write_rules(&good.replace("+2", "+3"));
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        assert_ne!(policy(&night).await, before);
        stage.load_rises();
        night.until("a second incident", |incident| incident.id.0 == 2).await;
        night.until_step("verifying").await;
        night.stop().await;
        assert_eq!(stage.replicas().await, 7, "by the new ones");
        stage.assert_acts(2).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_rule_changed_in_mid_verification_is_verified_by_its_own_text_and_handed_over() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("reload_midway").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        night.until_step("verifying").await;
        let changed = Rules { with: "{replicas: +5}", ..Rules::default() };
        stage.write_rules(&changed.text(&stage.namespace.name));
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        stage.until_paged("a reload changed its rule or target").await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        let step = night.until_step("verified").await;
        assert_eq!(step.verdict.as_deref(), Some("helped, verified"));
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.replicas().await, 4);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_reload_says_which_changed_settings_it_does_not_take() {
    story(&["changed since the start and not used: mode, timezone"], async || {
        let stage = Stage::set("waiting_settings").await;
        let night = stage.nightshift(&Rules::default()).await;
        let (status, said) = reload(&night).await;
        assert!(status == 200 && !said.contains("not used"), "{said}");

        let path = stage.file("nightshift.yaml");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, before.replace("mode: auto", "mode: shadow\ntimezone: Europe/Berlin")).unwrap();
        let (status, said) = reload(&night).await;
        assert!(status == 200 && said.contains("changed since the start and not used: mode, timezone"), "{said}");
        let status = night.does("ana", &["status"]).await;
        assert!(status.contains("ATTENTION") && status.contains("before a restart: mode, timezone"), "{status}");
        assert!(night.app.metrics.encode().contains("nightshift_settings_waiting 2\n"));

        std::fs::write(&path, before).unwrap();
        let (_, said) = reload(&night).await;
        assert!(!said.contains("not used"), "{said}");
        assert!(!night.does("ana", &["status"]).await.contains("ATTENTION"));
        night.stop().await;
    });
}

pub async fn reload(night: &Nightshift) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    let answer = http.post(format!("{}/-/reload", night.admin_url())).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The hash of the policy that decides.
async fn policy(night: &Nightshift) -> String {
    night.app.engine.read(|seen| seen.policy.hash.clone()).await.unwrap()
}
