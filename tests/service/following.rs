//! Stories of a page that nobody takes, of two incidents that are one story, and of an incident's own channel.

use serde_json::json;

use crate::night::Nightshift;
use crate::stage::{LEAD, PEOPLE, SOON, Stage, WAR_ROOM};
use crate::story::story;
use crate::support::slack::{Behaviour, Message};
use crate::support::wait_until;

/// A freeze keeps everything from acting, and nobody from being woken.
fn rules(namespace: &str) -> String {
    let rule = |name: &str, alertname: &str, severity: &str| {
        format!(
            "- name: {name}\n  match: ['alertname = \"{alertname}\"']\n  severity: {severity}\n  service: claims\n  \
             impact: users cannot submit claims\n  mode: auto\n  quiet: 1s\n  remediate:\n  \
             - {{action: kubernetes/scale, target: web, with: {{replicas: +1}}, verify: {{settle: 1s, resolved_within: 5m}}}}\n"
        )
    };
    format!(
        "settle_after_start: 0s\n\
         targets:\n  web:\n    kubernetes: {{namespace: {namespace}, deployment: web}}\n    replicas: {{min: 1, max: 10}}\n\
         freezes:\n- {{name: long-night, from: '2020-01-01T00:00Z', to: '2100-01-01T00:00Z'}}\n\
         escalations:\n  urgent:\n    severities: P0..P1\n    \
         levels: [{{after: 0m, to: platform}}, {{after: 2s, to: lead}}, {{after: 5s, to: war-room}}]\n\
         rules:\n{}{}{}\
         - {{name: everything-else, match: [], severity: P3, group_by: [alertname]}}\n",
        rule("claims-are-slow", "ClaimsAreSlow", "P1"),
        rule("claims-fail", "ClaimsFail", "P1"),
        rule("claims-are-gone", "ClaimsAreGone", "P0"),
    )
}

async fn fires(stage: &Stage, alertname: &str) {
    stage.alertmanager().post_alerts(&json!([{"labels": {"alertname": alertname}}])).await;
}

async fn night(stage: &Stage) -> Nightshift {
    stage.namespace.deployment("web", 2).create().await;
    stage.nightshift_by(&rules(&stage.namespace.name)).await
}

fn in_channel(stage: &Stage, id: &str) -> Vec<Message> {
    stage.slack.messages().into_iter().filter(|message| message.channel == id).collect()
}

async fn until_said_in(stage: &Stage, channel: &str, words: &[&str]) {
    wait_until(&format!("{channel} reads {words:?}"), SOON, async || {
        let all: Vec<String> = in_channel(stage, channel).iter().map(Message::readable).collect();
        let said = all.iter().any(|text| words.iter().all(|word| text.contains(word)));
        if said { Ok(()) } else { Err(format!("{all:#?}")) }
    })
    .await;
}

/// The freeze's word is in the default channel too.
fn incidents_cards(stage: &Stage) -> Vec<Message> {
    stage.cards().into_iter().filter(|card| card.channel == "C0INCIDENTS").collect()
}

#[test]
fn a_page_that_nobody_takes_calls_the_next_level_and_the_next_until_somebody_does() {
    story(&["page: a person is needed", "escalated"], async || {
        let stage = Stage::set("escalating").await;
        let night = night(&stage).await;
        until_said_in(&stage, "C0INCIDENTS", &["Freeze long-night is on until 2100-01-01"]).await;
        fires(&stage, "ClaimsAreSlow").await;
        stage.until_paged("freeze").await;
        stage.until_reply(&[&format!("<@{LEAD}>"), "lead is called (level 2 of 3)"]).await;
        until_said_in(&stage, WAR_ROOM, &["war-room is called (level 3 of 3)", "It is the last level"]).await;
        night.does("ana", &["ack", "1"]).await;
        stage.until_card(&["With", "local:ana"]).await;
        night.stop().await;
        stage.assert_acts(0).await;
        let calls = stage.replies().into_iter().filter(|reply| reply.contains("is called")).count();
        assert_eq!((calls, in_channel(&stage, WAR_ROOM).len()), (2, 1));
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn whoever_takes_the_page_in_time_is_the_last_to_be_called() {
    story(&["page: a person is needed"], async || {
        let stage = Stage::set("taken").await;
        let night = night(&stage).await;
        fires(&stage, "ClaimsAreSlow").await;
        stage.until_paged("freeze").await;
        night.does("ana", &["ack", "1"]).await;
        tokio::time::sleep(std::time::Duration::from_secs(7)).await;
        assert!(stage.replies().iter().all(|reply| !reply.contains(LEAD)), "{:#?}", stage.replies());
        night.stop().await;
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn two_incidents_of_one_service_are_one_message_and_the_worse_one_raises_it() {
    story(&["page: a person is needed", "escalated"], async || {
        let stage = Stage::set("one_story").await;
        let night = night(&stage).await;
        fires(&stage, "ClaimsAreSlow").await;
        stage.until_paged("freeze").await;
        night.does("ana", &["ack", "1"]).await;
        fires(&stage, "ClaimsFail").await;
        stage.until_reply(&["Incident 2 (ClaimsFail)", "It belongs to this one"]).await;
        fires(&stage, "ClaimsAreGone").await;
        stage.until_reply(&["It is P0 now: incident 3 belongs to it", "local:ana had it"]).await;
        stage.until_reply(&[&format!("<!subteam^{PEOPLE}>"), "it is P0 now, by incident 3"]).await;
        stage
            .until_card(&["P0 firing: ClaimsAreSlow", "*Also incident* 2", "*Also incident* 3", "Nobody has it"])
            .await;
        let listed = night.does("ana", &["incidents"]).await;
        assert!(listed.contains("ClaimsFail (of 1)") && listed.contains("ClaimsAreGone (of 1)"), "{listed}");
        let shown = night.does("ana", &["incident", "1"]).await;
        assert!(shown.contains("incidents 3 (open), 2 (open)"), "{shown}");
        assert!(night.does("ana", &["incident", "3"]).await.contains("incident 1"));
        night.does("ana", &["resolve", "1"]).await;
        stage.until_card(&["P0 resolved"]).await;
        stage.until_reply(&["Its post-mortem is due by"]).await;
        assert!(night.incidents().await.iter().all(|incident| incident.state == "resolved"));
        night.stop().await;
        assert_eq!(incidents_cards(&stage).len(), 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_severe_incident_has_a_channel_of_its_own_until_it_is_over() {
    story(&["page: a person is needed", "escalated"], async || {
        let stage = Stage::set("own_channel").await;
        stage.makes_channels("P0..P1");
        let night = night(&stage).await;
        fires(&stage, "ClaimsAreSlow").await;
        let channel = wait_until("a channel of its own", SOON, async || {
            let made = stage.slack.channels().into_iter().find(|channel| channel.name.starts_with("incident-20"));
            made.ok_or_else(|| format!("{:?}", stage.slack.channels()))
        })
        .await;
        until_said_in(
            &stage,
            &channel.id,
            &["Issue", "ClaimsAreSlow", "Impact", "users cannot submit claims", "ETA", "not known yet", "platform"],
        )
        .await;
        until_said_in(&stage, "C0INCIDENTS", &["Followed", &format!("<#{}>", channel.id)]).await;
        until_said_in(&stage, &channel.id, &["every detail in <#C0INCIDENTS>"]).await;
        night.does("ana", &["resolve", "1"]).await;
        until_said_in(&stage, &channel.id, &["Resolved: by local:ana. This was the last update."]).await;
        until_said_in(&stage, &channel.id, &["P1 resolved", "it is over"]).await;
        night.stop().await;
        assert_eq!(stage.slack.channels().len(), 3, "one channel, and made once");
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn a_channel_whose_answer_was_lost_is_made_once() {
    story(&["page: a person is needed", "escalated", "a letter was not taken"], async || {
        let stage = Stage::set("lost_channel").await;
        stage.makes_channels("P0..P1");
        let night = night(&stage).await;
        until_said_in(&stage, "C0INCIDENTS", &["Freeze long-night"]).await;
        stage.slack.behave(Behaviour::LoseAnswer);
        fires(&stage, "ClaimsAreSlow").await;
        wait_until("a channel was asked for", SOON, async || {
            let asked = stage.slack.calls().iter().filter(|call| call.method == "conversations.create").count();
            if asked > 0 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        stage.slack.behave(Behaviour::Ok);
        stage.until_card(&["Followed"]).await;
        assert_eq!(stage.slack.channels().len(), 3);
        night.does("ana", &["resolve", "1"]).await;
        stage.until_card(&["P1 resolved"]).await;
        night.stop().await;
        stage.slack.assert_nothing_broken();
    });
}
