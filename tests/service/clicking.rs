//! Stories in which people use Slack's buttons and commands.

use serde_json::json;

use crate::stage::{Rules, SOON, Stage};
use crate::story::story;
use crate::support::wait_until;

/// Ana is on call, Ben is not, Gil is a guest.
async fn with_people(name: &str) -> Stage {
    let stage = people(name).await;
    stage.takes_clicks("{P0..P1: [S0ONCALL1]}");
    stage
}

pub async fn people(name: &str) -> Stage {
    let stage = Stage::set(name).await;
    stage.slack.knows("U0ANA0001", "Ana", json!({}));
    stage.slack.knows("U0BEN0001", "Ben", json!({}));
    stage.slack.knows("U0GIL0001", "Gil", json!({"is_restricted": true}));
    stage.slack.has_group("S0ONCALL1", &["U0ANA0001"]);
    stage.namespace.deployment("web", 2).ready().await;
    stage
}

pub async fn until_whispered(stage: &Stage, user: &str, words: &str) {
    wait_until(&format!("{user} is told {words:?}"), SOON, async || {
        let whispers = stage.slack.whispers();
        let told = whispers.iter().any(|whisper| whisper.user == user && whisper.text.contains(words));
        if told { Ok(()) } else { Err(format!("{whispers:#?}")) }
    })
    .await;
}

#[test]
fn a_plan_is_approved_in_slack_by_whoever_may_and_undone_there() {
    story(&[], async || {
        let stage = with_people("clicked").await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        let door = stage.door();
        stage.load_rises();
        night.until_step("asking").await;
        stage
            .until_card(&["Waits for an approval", "replicas 2 → 4", "Approve", "Reject", "Acknowledge", "Why?"])
            .await;
        let card = stage.cards().pop().unwrap();

        assert_eq!(stage.slack.press(&door, "U0GIL0001", &card, "Acknowledge").await, 200);
        until_whispered(&stage, "U0GIL0001", "they are a guest").await;
        assert_eq!(stage.slack.press(&door, "U0BEN0001", &card, "Approve").await, 200);
        until_whispered(&stage, "U0BEN0001", "you are not among the `approvers` for P1").await;
        assert_eq!(stage.slack.press(&door, "U0BEN0001", &card, "Reject").await, 200);
        until_whispered(&stage, "U0BEN0001", "you are not among the `approvers` for P1").await;
        assert_eq!(stage.slack.press(&door, "U0BEN0001", &card, "Why?").await, 200);
        until_whispered(&stage, "U0BEN0001", "guards").await;
        stage.assert_acts(0).await;

        let approve = card.button("Approve").unwrap();
        assert_eq!(stage.slack.press(&door, "U0ANA0001", &card, "Approve").await, 200);
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        wait_until("the buttons that were pressed are gone", SOON, async || {
            let buttons = stage.cards().pop().unwrap().buttons();
            if buttons.iter().any(|label| label == "Approve") { Err(format!("{buttons:?}")) } else { Ok(()) }
        })
        .await;
        // Somebody whose screen still shows it.
        assert_eq!(stage.slack.press_with(&door, "U0ANA0001", &card, &approve).await, 200);
        until_whispered(&stage, "U0ANA0001", "has approved step 1.1 already").await;

        stage.load_falls();
        night.until_step("verified").await;
        stage.until_card(&["Approved by", "Ana (U0ANA0001)", "Helped, verified", "Undo"]).await;
        let card = stage.cards().pop().unwrap();
        assert_eq!(stage.slack.press(&door, "U0ANA0001", &card, "Undo").await, 200);
        stage.until_reply(&["Ana (U0ANA0001) undoes step 1.1"]).await;
        wait_until("what it did is undone", SOON, async || match stage.replicas().await {
            2 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        night.stop().await;
        stage.assert_acts(2).await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn typed_commands_show_take_pause_and_go_on() {
    story(&["paused: nothing acts"], async || {
        let stage = with_people("typed").await;
        let night = stage.nightshift(&Rules { mode: "ask", ..Rules::default() }).await;
        let door = stage.door();
        stage.load_rises();
        night.until_step("asking").await;
        let ana = async |text: &str| stage.slack.type_command(&door, "U0ANA0001", text).await;
        assert!(ana("status").await.contains("Open incidents: 1"));
        assert!(ana("incidents").await.contains("1 P1 open"));
        assert!(ana("why 1").await.contains("guards"));
        assert!(ana("ack 1").await.contains("You have incident 1."));
        stage.until_card(&["With", "Ana (U0ANA0001)"]).await;
        assert!(stage.slack.type_command(&door, "U0BEN0001", "pause too odd").await.contains("Paused"));
        assert!(ana("status").await.contains("Paused by Ben (U0BEN0001)"));
        let not_ben = stage.slack.type_command(&door, "U0BEN0001", "resume").await;
        assert!(not_ben.contains("`approvers` for P0"), "{not_ben}");
        assert!(ana("resume").await.contains("Acting goes on."));
        night.stop().await;
        stage.assert_acts(0).await;
        stage.slack.assert_nothing_broken();
    });
}
