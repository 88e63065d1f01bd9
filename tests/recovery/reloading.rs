//! I-33 by signal: SIGHUP takes better rules, and keeps the old ones over bad ones; both are journalled.

use std::time::Duration;

use nightshift::model::event::Event;
use nightshift::model::input::Input;

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

async fn reload(home: &Home, daemon: &Daemon, rules: &str, is_expected: fn(&Input) -> bool) {
    std::fs::write(home.path("rules.yaml"), rules).expect("written");
    daemon.signal("HUP");
    wait_until("the reload is in the journal", Duration::from_secs(10), async || {
        let books = Books::read(&home.options()).await;
        let found = books.entries.iter().any(|entry| is_expected(&entry.input));
        if found { Ok(()) } else { Err(format!("{} entries\n{}", books.entries.len(), daemon.said())) }
    })
    .await;
}

/// The rule that takes an alert of this name.
async fn taken_by(home: &Home, daemon: &Daemon, name: &str) -> String {
    let alert = Alert::firing(&[("alertname", name)]);
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    let books = Books::read(&home.options()).await;
    let rules = books.events().filter_map(|(_, event)| match event {
        Event::IncidentOpened { rule, .. } => Some(rule.clone()),
        _ => None,
    });
    rules.last().expect("an incident was opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_better_rules_and_keeps_the_old_over_bad_ones() {
    let rules = |name: &str| format!("rules:\n- {{name: {name}, match: [], group_by: [alertname]}}\n");
    let home = Home::new(&rules("first"));
    let mut daemon = home.start().await;
    assert_eq!(taken_by(&home, &daemon, "A").await, "first");
    let by_signal = |input: &Input| matches!(input, Input::PolicyLoaded { by, .. } if by == "signal");
    reload(&home, &daemon, &rules("second"), by_signal).await;
    assert_eq!(taken_by(&home, &daemon, "B").await, "second");
    let refused = |input: &Input| matches!(input, Input::PolicyRefused { by, .. } if by == "signal");
    reload(&home, &daemon, "rules:\n- {name: third, match: [], modes: auto}\n", refused).await;
    assert_eq!(taken_by(&home, &daemon, "C").await, "second");
    let said = home.logged("ERROR").join("\n");
    assert!(said.contains("the old rules run on") && said.contains("modes"), "{said}");
    assert!(daemon.kill(), "{}", daemon.said());
}
