//! The status page through kills: whatever was on its way, customers read of one incident, and each sentence once.

use std::time::Duration;

use serde_json::json;

use crate::daemon::{Daemon, Home};
use crate::support::statuspage::{Behaviour, KEY, PAGE, Statuspage};
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const CLAIMS: &str = "claimsid0001";
const SOON: Duration = Duration::from_secs(60);
/// Longer than this test: done, and never answered to whoever asked.
const LONG: Behaviour = Behaviour::Slow(Duration::from_secs(600));
const RULES: &str = "rules:\n- {name: all, match: [], severity: P1, quiet: 3s, notify: {statuspage: {component: claims, when: P0..P1}}}\n";
const SENTENCES: &str = "title: Claims are slow\ninvestigating: We look for the cause.\nidentified: We repair it.\n\
                         monitoring: We watch it.\nresolved: It works.\n";

fn home(page: &Statuspage) -> Home {
    let home = Home::new(RULES);
    std::fs::write(home.path("key"), KEY).expect("written");
    std::fs::write(home.path("claims.yaml"), SENTENCES).expect("written");
    let settings = json!({
        "api_key_file": home.path("key"), "page": PAGE, "api_url": page.url(), "publish": "auto",
        "components": {"claims": {"id": CLAIMS, "sentences_file": home.path("claims.yaml")}},
    });
    home.set("statuspage", settings)
}

async fn tells(daemon: &Daemon, alert: Alert) {
    let taken = post_once(daemon.webhooks(), &body(&[alert])).await.expect("an answer");
    assert_eq!(taken, 200);
}

/// Waits for a write that was done and is not answered.
async fn until_written(page: &Statuspage, writes: usize) {
    wait_until(&format!("write {writes}"), SOON, async || {
        let done = page.writes().iter().filter(|call| call.done).count();
        if done >= writes { Ok(()) } else { Err(format!("{:#?}", page.calls())) }
    })
    .await;
}

async fn until_status(page: &Statuspage, status: &str) {
    wait_until(&format!("the page is {status}"), SOON, async || {
        let incidents = page.incidents();
        if incidents.last().is_some_and(|it| it.status == status) { Ok(()) } else { Err(format!("{incidents:#?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_a_write_and_its_record_it_opens_no_second_incident_and_repeats_nothing() {
    let page = Statuspage::start(&[CLAIMS]);
    let home = home(&page);
    let mut daemon = home.start().await;
    let alert = Alert::firing(&[("alertname", "ClaimsDown")]);
    // It looks for its own, at the component, and then opens one.
    [Behaviour::Ok, Behaviour::Ok, LONG].into_iter().for_each(|one| page.next(one));
    tells(&daemon, alert.clone()).await;
    until_written(&page, 1).await;
    assert!(daemon.kill());

    let mut daemon = home.start().await;
    // It looks for its own and finds it; then it reads it, and moves it on.
    wait_until("it has found its own", SOON, async || {
        let looked = page.about_incidents().len();
        if looked >= 4 { Ok(()) } else { Err(looked.to_string()) }
    })
    .await;
    [Behaviour::Ok, LONG].into_iter().for_each(|one| page.next(one));
    tells(&daemon, alert.resolved()).await;
    until_written(&page, 2).await;
    assert!(daemon.kill());

    let daemon = home.start().await;
    until_status(&page, "resolved").await;
    drop(daemon);
    let incidents = page.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    let said: Vec<&str> = incidents[0].updates.iter().map(|(_, sentence, _)| sentence.as_str()).collect();
    assert_eq!(said, ["We look for the cause.", "We watch it.", "It works."]);
    assert_eq!(page.component(CLAIMS), "operational");
    page.assert_nothing_broken();
}
