//! I-36: a crash loop ends in observing only, and stays so until a person resumes it.

use std::time::Duration;

use nightshift::model::event::Event;
use serde_json::json;

use crate::books::Books;
use crate::daemon::Home;
use crate::support::wait_until;

async fn is_paused(home: &Home) -> Option<String> {
    let books = Books::read(&home.options()).await;
    let switched = books.events().filter_map(|(_, event)| match event {
        Event::Paused { by, reason } => Some(Some(format!("{by}: {reason}"))),
        Event::Resumed { .. } => Some(None),
        _ => None,
    });
    switched.last().flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_unclean_starts_end_in_observing_only_until_somebody_resumes() {
    let home = Home::new("rules:\n- {name: everything, match: [], group_by: [alertname]}\n")
        .set("safe_mode", json!({"unclean_starts": 3}));
    for _ in 0..3 {
        let mut daemon = home.start().await;
        assert_eq!(is_paused(&home).await, None);
        assert!(daemon.kill(), "{}", daemon.said());
    }
    let mut daemon = home.start().await;
    let why = is_paused(&home).await.expect("it only observes");
    assert!(why.starts_with("nightshift: 3 starts without a clean stop"), "{why}");
    daemon.signal("TERM");
    assert!(daemon.until_ended(Duration::from_secs(20)).await.is_some_and(|end| end.success()), "{}", daemon.said());
    let daemon = home.start().await;
    assert!(is_paused(&home).await.is_some(), "a clean stop is nobody's word");
    let admin = format!("http://{}", daemon.admin());
    let resumed = home.run(&["resume", "--url", &admin]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    wait_until("it is resumed", Duration::from_secs(5), async || match is_paused(&home).await {
        None => Ok(()),
        Some(why) => Err(why),
    })
    .await;
}
