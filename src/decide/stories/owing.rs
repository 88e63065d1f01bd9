//! What is owed to one receiver keeps nothing that is owed to another, however much it is.

use super::harness::{Story, rule};
use crate::model::{
    alert::Status,
    input::Input,
    letter::{Receiver, Slot},
};
use std::collections::BTreeSet;

/// More incidents than are looked at of one receiver.
const INCIDENTS: usize = 200;

/// Each pod is an incident that pages: nothing can be done for it. They are told in `#archive`, and one more in `#incidents`.
fn many_paged() -> Story {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].group_by = vec!["pod".into()];
        spec.rules[0].slack_channel = Some("#archive".into());
        spec.rules.push(rule("other", "Other", &["api"]));
    });
    story.refuses = Some("no".into());
    for pod in 0..INCIDENTS {
        let alert = story.alert("WebIsSlow", &format!("p{pod}"), Status::Firing, story.now);
        story.input(Input::Alert(Box::new(alert)));
    }
    story.fires("Other");
    // Some are looked at at a time.
    for _ in 0..INCIDENTS {
        if story.pages() > INCIDENTS {
            break;
        }
        story.observes();
    }
    assert!(story.pages() > INCIDENTS, "{}", story.pages());
    story
}

#[test]
fn a_channel_that_takes_nothing_keeps_no_page_from_pagerduty_and_nothing_from_other_channels() {
    let story = many_paged();
    let due = story.state.letters_due(128);
    let receivers: BTreeSet<String> = due.iter().map(|letter| letter.key.receiver.to_string()).collect();
    assert_eq!(receivers.into_iter().collect::<Vec<_>>(), ["pagerduty:default", "slack:#archive", "slack:#incidents"]);
    let pages = due.iter().filter(|letter| matches!(letter.key.receiver, Receiver::PagerDuty { .. }));
    assert_eq!(pages.filter(|letter| matches!(letter.key.slot, Slot::Page(_))).count(), 128);
    assert!(due.len() <= 128 * 6, "{}", due.len());
}
