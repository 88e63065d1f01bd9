//! Stories of the switches: the pause file, a pause by signal or command, and a reload.

use std::time::Duration;

use nightshift::model::event::Event;
use nightshift::model::input::{Command, Via};

use crate::stage::{Rules, Stage};
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
        let refused = night.command("ana", Command::Resume { pause_file_present: true }).await;
        assert!(refused.iter().all(|event| matches!(event, Event::CommandRefused { .. })), "{refused:?}");
        std::fs::remove_file(stage.file("pause")).unwrap();
        let resumed = night.command("ana", Command::Resume { pause_file_present: false }).await;
        assert!(resumed.iter().any(|event| matches!(event, Event::Resumed { .. })), "{resumed:?}");
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
        night.command_via("signal", Via::Signal, pause).await;
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
