//! A storm: a share of a set's members fails within a time. How many were acted on before the brake, and how it is told.
//!
//! The usual story has thirty members, all of them red at once. The long one prints a table:
//! `cargo test --test service -- --ignored --nocapture long_storms`.

use std::time::Duration;

use nightshift::model::event::Event;

use crate::night::Nightshift;
use crate::stage::{PEOPLE, Stage};
use crate::story::story;
use crate::support::wait_until;

/// The brake's words: its page, and its warning.
const BRAKE: [&str; 2] = ["the brake is on", "page: a person is needed"];

fn rules(namespace: &str) -> String {
    format!(
        "settle_after_start: 0s\nmax_concurrent: 5\nlimits: {{namespace: 1000 per 1h, all: 1000 per 1h}}\n\
         targets:\n  fleet:\n    kubernetes: {{namespace: {namespace}, kind: Deployment, selector: managed=true}}\n    \
         pick: deployment\n    replicas: {{min: 1, max: 10}}\n\
         escalations:\n  urgent: {{severities: P0..P1, levels: [{{after: 0m, to: platform}}]}}\n\
         rules:\n\
         - name: member-high-load\n  match: ['alertname = \"HighLoad\"', 'deployment =~ \"d.*\"', 'namespace = \"{namespace}\"']\n  severity: P1\n  \
           mode: auto\n  remediate:\n  - {{action: kubernetes/scale, target: fleet, with: {{replicas: +1}}, verify: \
           {{settle: 1s, resolved_within: 5m}}}}\n\
         - {{name: everything-else, match: [], severity: P3, group_by: [alertname]}}\n"
    )
}

async fn fleet(name: &str, members: usize) -> (Stage, Nightshift) {
    let stage = Stage::set(name).await;
    for number in 0..members {
        stage.namespace.deployment(&format!("d{number}"), 1).label("managed", "true").create().await;
    }
    let night = stage.nightshift_by(&rules(&stage.namespace.name)).await;
    (stage, night)
}

fn fails(stage: &Stage, number: usize) {
    let namespace = &stage.namespace.name;
    stage.gauges.set(&format!("load{{deployment=\"d{number}\",namespace=\"{namespace}\"}}"), 0.97);
}

/// Waits until the brake is on, and everybody who fails has an incident.
async fn until_braked(night: &Nightshift, failing: usize) {
    wait_until("the brake is on and all are known", Duration::from_secs(90), async || {
        let (braked, firing) = night
            .app
            .engine
            .read(|seen| (seen.state.counts().braked.len(), seen.state.counts().alerts_known))
            .await
            .expect("the engine answers");
        if braked > 0 && firing >= failing as u64 { Ok(()) } else { Err(format!("{braked} braked, {firing} firing")) }
    })
    .await;
}

#[test]
fn a_whole_set_that_turns_red_at_once_is_left_alone_and_pages_once() {
    story(&BRAKE, async || {
        let members = 30;
        let (stage, night) = fleet("storm", members).await;
        (0..members).for_each(|number| fails(&stage, number));
        until_braked(&night, members).await;
        stage.until_reply(&[&format!("<!subteam^{PEOPLE}>"), "the brake is on"]).await;
        // Whatever had started is finished; nothing more begins.
        let acted = stage.namespace.acts().await.len();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(stage.namespace.acts().await.len(), acted);
        assert!(acted <= 5, "{acted} of {members} were acted on");
        let paged = stage.replies().into_iter().filter(|reply| reply.contains(PEOPLE)).count();
        assert_eq!(paged, 1, "one storm, one page");
        assert!(stage.cards().len() <= 7, "{} messages for one storm", stage.cards().len());
        let kept = night.stop().await;
        let braked = kept.events().filter(|event| matches!(event, Event::Braked { .. })).count();
        assert!(braked >= 1);
        stage.slack.assert_nothing_broken();
    });
}

#[test]
#[ignore = "a quarter of an hour"]
fn long_storms() {
    println!("members  failing  within  acted on before the brake  pages  messages");
    for (number, (share, within)) in
        [10, 20, 50, 100].into_iter().flat_map(|share| [1, 20, 60].map(|within| (share, within))).enumerate()
    {
        story(&BRAKE, async || {
            let members = 200;
            let failing = members * share / 100;
            let (stage, night) = fleet(&format!("storm_{number}"), members).await;
            for number in 0..failing {
                fails(&stage, number);
                tokio::time::sleep(Duration::from_secs(within) / u32::try_from(failing).expect("few")).await;
            }
            until_braked(&night, failing).await;
            // Slack takes one message a second.
            stage.until_paged("alert at once").await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let acted = stage.namespace.acts().await.len();
            let pages = stage.replies().into_iter().filter(|reply| reply.contains(PEOPLE)).count();
            let messages = stage.cards().len();
            println!("{members:7}  {failing:7}  {within:4} s  {acted:25}  {pages:5}  {messages:8}");
            assert!(acted <= 5 && pages == 1, "{acted} acted on, {pages} pages");
            night.stop().await;
        });
    }
}
