use super::harness::{Story, rule};
use crate::model::{alert::Status, input::Input, step::Phase, time::Span};

fn forbidden(story: &mut Story) {
    let says = "a PodDisruptionBudget does not allow it now".to_owned();
    story.facts.disruption = Some(says);
}

#[test]
fn a_budget_that_says_no_is_waited_for_and_then_the_pod_goes() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "disruption"));
    assert!(story.intents().is_empty());
    story.facts.disruption = None;
    story.after(Span::seconds(10)).observes();
    assert_eq!(story.intents(), vec![step]);
}

#[test]
fn a_budget_that_goes_on_saying_no_is_left_to_people() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    let step = story.last_step();
    for wait in [10, 30, 60] {
        story.observes();
        assert_eq!(story.phase(step), Phase::Holding);
        story.after(Span::seconds(wait));
    }
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "disruption"));
    assert_eq!((story.starts_count(), story.pages()), (0, 1));
}

#[test]
fn nothing_is_taken_away_when_it_is_paused_while_a_budget_is_waited_for() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    story.observes();
    story.command("ann", crate::model::input::Command::Pause { reason: "look".into() });
    story.facts.disruption = None;
    story.after(Span::minutes(2)).observes();
    assert_eq!(story.starts_count(), 0);
}

/// A story with a rule that evicts the pod that the alert names, and an alert about `web-0` of that namespace.
fn crashing_in(namespace: &str) -> Story {
    let mut story = Story::with(|spec| {
        let mut crashing = rule("pod-crashes", "PodCrashLooping", &["web"]);
        crashing.remediate[0].action = "kubernetes/delete_pod".into();
        crashing.remediate[0].with = serde_json::json!({});
        crashing.remediate[0].chooses_by = Some("pod".into());
        spec.rules.push(crashing);
    });
    let mut alert = story.alert("PodCrashLooping", "web-0", Status::Firing, story.now);
    alert.labels.insert("namespace".into(), namespace.into());
    story.input(Input::Alert(Box::new(alert)));
    story.observes();
    story.performs();
    story
}

/// Pods of StatefulSets have the same names in every namespace.
#[test]
fn an_alert_of_another_namespace_evicts_nothing() {
    assert_eq!(crashing_in("staging").starts_count(), 0, "web-0 of production was not meant");
    assert_eq!(crashing_in("production").starts_count(), 1);
}
