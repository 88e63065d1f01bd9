//! What PagerDuty may tell us of at a time.

use super::*;

#[test]
fn a_thousand_news_wait_for_an_answer_and_what_comes_beyond_is_taken_as_it_is() {
    let mut story = asking();
    for number in 0..1000 {
        let ago = Span::millis(number);
        tells(&mut story, Word { ago, ..of(PeerEvent::Triggered, "P1") });
    }
    assert_eq!(incidents(&story), 1);
    tells(&mut story, of(PeerEvent::Triggered, "P2"));
    assert_eq!(incidents(&story), 2);
}

#[test]
fn of_pagerdutys_incidents_that_join_one_of_ours_fifty_are_known() {
    let mut story = paged();
    for number in 0..60 {
        let peer = format!("P{number}");
        tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, &peer) });
    }
    let joined = story.events().filter(|event| matches!(event, Event::PeerJoined { .. })).count();
    assert_eq!((incidents(&story), joined), (1, 50));
}
