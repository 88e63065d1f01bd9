//! Stories of Slack being away: nothing waits for it, and nothing is lost.

use std::time::Duration;

use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::slack::{Behaviour, TOKEN};
use crate::support::wait_until;
use crate::switches::reload;

/// The courier tries again after at most a minute.
const DELIVERED: Duration = Duration::from_secs(80);

#[test]
fn with_slack_down_all_the_time_it_acts_as_fast_and_tells_the_last_state_afterwards() {
    story(&["a letter was not taken"], async || {
        let stage = Stage::set("slack_down").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.slack.refuse();
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        assert!(stage.slack.messages().is_empty());
        stage.slack.listen_again();
        stage.until_card_within(DELIVERED, &["resolved", "Helped, verified"]).await;
        stage.until_reply(&["Step 1.1: helped, verified"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_slack_that_never_answers_holds_nothing_up() {
    story(&["a letter was not taken"], async || {
        let stage = Stage::set("slack_hangs").await;
        stage.namespace.deployment("web", 2).ready().await;
        let night = stage.nightshift(&Rules::default()).await;
        stage.slack.behave(Behaviour::Hang);
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        assert!(stage.slack.messages().is_empty());
        stage.slack.behave(Behaviour::Ok);
        stage.until_card_within(DELIVERED, &["resolved", "Helped, verified"]).await;
        night.stop().await;
        stage.assert_acts(1).await;
        assert_eq!(stage.cards().len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_token_that_slack_refuses_is_said_at_the_start_and_loses_no_letter() {
    story(&["Slack refuses the bot token (invalid_auth)", "a letter was not taken"], async || {
        let stage = Stage::set("wrong_token").await;
        stage.namespace.deployment("web", 2).ready().await;
        stage.bot_token("xoxb-of-another-workspace");
        let night = stage.nightshift(&Rules::default()).await;
        // Before there is any letter.
        wait_until("the status says so", SOON, async || {
            let status = night.does("ana", &["status"]).await;
            if status.contains("ATTENTION") && status.contains("slack.bot_token_file") { Ok(()) } else { Err(status) }
        })
        .await;
        stage.load_rises();
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_state("resolved").await;
        let shown = "nightshift_receiver_refuses{receiver=\"slack\"} ";
        assert!(night.app.metrics.encode().contains(&format!("{shown}1")));
        assert!(stage.slack.messages().is_empty());

        stage.bot_token(TOKEN);
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        stage.until_card_within(DELIVERED, &["resolved", "Helped, verified"]).await;
        stage.until_reply(&["Step 1.1: helped, verified"]).await;
        let status = night.does("ana", &["status"]).await;
        assert!(!status.contains("ATTENTION"), "{status}");
        assert!(night.app.metrics.encode().contains(&format!("{shown}0")));
        night.stop().await;
        assert_eq!(stage.cards().len(), 1);
        let broken = stage.slack.broken();
        assert!(broken.iter().all(|one| one.error == "invalid_auth"), "{broken:#?}");
    });
}

#[test]
fn a_channel_that_slack_does_not_have_is_said_at_the_start_and_taken_back_once_it_is_there() {
    story(&["Slack lists no public channel #secruity"], async || {
        let stage = Stage::set("wrong_channel").await;
        stage.tells_security("#secruity");
        let night = stage.nightshift(&Rules::default()).await;
        wait_until("the status says so", SOON, async || {
            let status = night.does("ana", &["status"]).await;
            let says = status.contains("ATTENTION") && status.contains("no public channel #secruity");
            if says && !status.contains("#incidents:") { Ok(()) } else { Err(status) }
        })
        .await;
        stage.slack.has_channel("secruity", "C0SECRUITY1");
        let (status, said) = reload(&night).await;
        assert_eq!(status, 200, "{said}");
        wait_until("the status says nothing", SOON, async || {
            let status = night.does("ana", &["status"]).await;
            if status.contains("ATTENTION") { Err(status) } else { Ok(()) }
        })
        .await;
        night.stop().await;
        assert!(stage.slack.messages().is_empty(), "nothing is written to find out");
        stage.slack.assert_nothing_broken();
    });
}
