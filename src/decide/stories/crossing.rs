//! Where two things cross: evidence that is asked for, an undo and a new firing, a lease and its renewal, lost and found.

use super::harness::{Story, rule};
use crate::{
    decide::{policy::CollectorSpec, work::Work},
    model::{
        alert::Status,
        event::{Event, LadderEnd, LeaseEnd},
        firing::FiringAnswer,
        id::{Fingerprint, IncidentId, StepId},
        input::{Command, Gathered, Input, Op},
        letter::Told,
        observation::Outcome,
        rung::IfIneffective,
        step::Phase,
        time::Span,
    },
};

fn gathers(story: &Story) -> Vec<Input> {
    let work = story.state.work().into_iter();
    work.filter_map(|work| match work {
        Work::Gather { incident, collector } => Some(Input::Gathered {
            incident,
            collector: collector.collect.clone(),
            target: collector.target.key().0,
            result: Ok(Gathered { digest: "00".into(), bytes: 1, summary: "one pod".into() }),
        }),
        _ => None,
    })
    .collect()
}

#[test]
fn evidence_that_came_is_not_asked_for_again() {
    let mut story = Story::with(|spec| {
        spec.rules[0].evidence = vec![CollectorSpec {
            collect: "kubernetes/pods".into(),
            target: "web".into(),
            with: serde_json::json!({}),
        }];
    });
    story.fires("WebIsSlow");
    let wanted = gathers(&story);
    assert_eq!(wanted.len(), 1);
    for input in wanted {
        story.input(input);
    }
    assert!(gathers(&story).is_empty(), "the driver would collect it every second for as long as the incident lives");
}
