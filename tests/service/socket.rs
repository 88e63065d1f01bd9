//! Stories in which what people ask for comes by Socket Mode: nobody reaches us, and we reach Slack.

use std::time::Duration;

use nightshift::model::event::Event;
use serde_json::json;

use crate::clicking::{people, until_whispered};
use crate::night::{Kept, Nightshift};
use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::slack::{Behaviour, pressed};
use crate::support::wait_until;

const APPROVERS: &str = "{P0..P1: [S0ONCALL1]}";

/// A plan waits for an approval, and one connection is open.
async fn asking(stage: &Stage) -> Nightshift {
    stage.takes_clicks_by_socket(APPROVERS);
    let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
    stage.load_rises();
    night.until_step("asking").await;
    stage.until_card(&["Waits for an approval", "Approve"]).await;
    stage.slack.sockets().until_opened(1).await;
    night
}

async fn until_shown(night: &Nightshift, words: &str) {
    wait_until(&format!("the status says {words:?}"), SOON, async || {
        let status = night.does("ana", &["status"]).await;
        if status.contains(words) { Ok(()) } else { Err(status) }
    })
    .await;
}

fn approvals(kept: &Kept) -> usize {
    kept.events().filter(|event| matches!(event, Event::Approved { .. })).count()
}

#[test]
fn a_plan_is_approved_by_socket_and_http_stays_closed() {
    story(&["paused: nothing acts"], async || {
        let stage = people("socketed").await;
        let night = asking(&stage).await;
        until_shown(&night, "Socket Mode connected").await;
        let (slack, sockets) = (&stage.slack, stage.slack.sockets());
        let card = stage.cards().pop().unwrap();

        slack.press_by_socket("U0GIL0001", &card, "Approve");
        until_whispered(&stage, "U0GIL0001", "they are a guest").await;
        slack.press_by_socket("U0BEN0001", &card, "Approve");
        until_whispered(&stage, "U0BEN0001", "you are not among the `approvers` for P1").await;
        let unsealed =
            json!({"action_id": "a", "value": "approve 1.1 00", "text": {"type": "plain_text", "text": "x"}});
        sockets.send("interactive", pressed("U0ANA0001", &card, &unsealed), true);
        until_whispered(&stage, "U0ANA0001", "this button is not nightshift's").await;
        assert_eq!(slack.press(&stage.door(), "U0ANA0001", &card, "Approve").await, 404, "HTTP's routes are closed");
        stage.assert_acts(0).await;

        // What nobody asked for, and what no button of ours sends, is acknowledged and left.
        for (kind, payload) in [("events_api", json!({"event": {}})), ("interactive", json!({"type": "shortcut"}))] {
            let id = sockets.send(kind, payload, false);
            assert_eq!(sockets.until_acknowledged(&id).await, json!({"envelope_id": id}));
        }
        let id = slack.press_by_socket("U0ANA0001", &card, "Approve");
        assert_eq!(sockets.until_acknowledged(&id).await, json!({"envelope_id": id}));
        stage.until_acted().await;
        stage.load_falls();
        night.until_step("verified").await;
        assert!(slack.type_by_socket("U0BEN0001", "pause too odd").await.contains("Paused"));
        assert!(night.app.engine.pause_flag().is_set());
        assert!(slack.type_by_socket("U0ANA0001", "resume").await.contains("Acting goes on."));
        let metrics = night.app.metrics.encode();
        assert!(metrics.contains("nightshift_slack_socket{state=\"connected\"} 1"), "{metrics}");
        let kept = night.stop().await;
        assert_eq!(approvals(&kept), 1);
        assert_eq!(sockets.farewell(0), Some(1001), "a stop says farewell");
        stage.assert_acts(1).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn connections_are_refreshed_lost_and_found_without_losing_a_click() {
    story(&["is not connected, and is tried again"], async || {
        let stage = people("refreshed").await;
        let night = asking(&stage).await;
        let (slack, sockets) = (&stage.slack, stage.slack.sockets());
        let card = stage.cards().pop().unwrap();
        let why = |connection: usize| {
            let button = card.button("Why?").unwrap();
            sockets.send_over(connection, "interactive", pressed("U0ANA0001", &card, &button), true)
        };

        // Slack announces the end: both take clicks until it comes.
        sockets.disconnect(0, "warning");
        sockets.disconnect(0, "refresh_requested");
        sockets.until_opened(2).await;
        assert_eq!(sockets.open(), [0, 1]);
        for id in [why(0), why(1)] {
            sockets.until_acknowledged(&id).await;
        }
        sockets.close(0);

        // One that is cut in the middle of a click, which Slack then sends again: it is taken once.
        sockets.go_silent(1);
        let id = slack.press_by_socket("U0ANA0001", &card, "Approve");
        stage.until_acted().await;
        assert!(sockets.acknowledged(&id).is_empty());
        sockets.cut(1);
        sockets.until_opened(3).await;
        sockets.send_again(&id);
        sockets.until_acknowledged(&id).await;
        until_whispered(&stage, "U0ANA0001", "this was taken already: it is done once").await;

        // One that only we believe to be there.
        sockets.go_silent(2);
        sockets.until_opened(4).await;
        let id = why(3);
        sockets.until_acknowledged(&id).await;

        stage.load_falls();
        night.until_step("verified").await;
        let kept = night.stop().await;
        assert_eq!(approvals(&kept), 1);
        stage.assert_acts(1).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn slack_refuses_limits_and_hangs_and_nothing_else_waits_for_it() {
    story(&["is not connected, and is tried again", "Slack refuses slack.app_token_file"], async || {
        let stage = people("unopened").await;
        stage.takes_clicks_by_socket(APPROVERS);
        for behaviour in [Behaviour::RateLimited(1), Behaviour::Status(503), Behaviour::Slow(Duration::from_secs(1))] {
            stage.slack.next_open(behaviour);
        }
        let night = stage.nightshift(&Rules::default()).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.slack.sockets().until_opened(1).await;
        until_shown(&night, "Socket Mode connected").await;

        stage.slack.next_open(Behaviour::Error("invalid_auth"));
        stage.slack.sockets().cut(0);
        until_shown(&night, "Socket Mode NOT CONNECTED since").await;
        until_shown(&night, "refused (invalid_auth)").await;
        let metrics = night.app.metrics.encode();
        assert!(metrics.contains("nightshift_slack_socket{state=\"refused\"} 1"), "{metrics}");
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["Helped, verified"]).await;
        night.stop().await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn switched_off_in_slack_it_says_so_and_both_ways_may_be_set_up() {
    story(&["Socket Mode is switched off for this app in Slack"], async || {
        let stage = people("disabled").await;
        // HTTP too: Slack uses it once Socket Mode is off.
        stage.takes_clicks(APPROVERS);
        let night = asking(&stage).await;
        let card = stage.cards().pop().unwrap();
        stage.slack.sockets().disconnect(0, "link_disabled");
        until_shown(&night, "disabled (link_disabled)").await;
        assert_eq!(stage.slack.press(&stage.door(), "U0ANA0001", &card, "Approve").await, 200);
        stage.until_acted().await;
        assert_eq!(stage.slack.sockets().opened(), 1);
        stage.load_falls();
        night.until_step("verified").await;
        night.stop().await;
        stage.slack.assert_nothing_broken();
    });
}
