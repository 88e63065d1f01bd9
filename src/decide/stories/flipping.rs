//! Stories of a change that is watched to the end of its window, and put back by itself where it fails by itself.

use super::{
    braking::{BRAKE, fires, fleet},
    harness::{Story, rule},
};
use crate::{
    decide::policy::{Brake, Choice, TargetSpec},
    model::{
        event::{Event, LadderEnd},
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId, StepId},
        input::{Command, Input},
        letter::PageState,
        mode::Mode,
        observation::{Reading, TargetReading},
        reason::Reason,
        rung::IfIneffective,
        step::{Answer, Phase, Purpose},
        target::{Kind, Object},
        time::Span,
    },
};

/// A ladder of two rungs whose first one has acted and has settled. `if_ineffective` is `keep`.
fn flipped() -> Story {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[0].if_ineffective = IfIneffective::Keep;
    });
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40));
    story
}

fn watched(story: &Story) -> Reading {
    Reading { target: TargetReading::Watched { says: "3 pods of green".into() }, ..story.reading() }
}

fn broken(story: &Story) -> Reading {
    Reading { target: TargetReading::Broken { says: "1 endpoints of green are ready".into() }, ..story.reading() }
}

fn undos(story: &Story) -> usize {
    let planned = |event: &&Event| matches!(event, Event::StepPlanned { purpose: Purpose::Undo { .. }, .. });
    story.events().filter(planned).count()
}

/// The flip back is done, and read back well.
fn goes_back(story: &mut Story) {
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4, "it is back");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
}

#[test]
fn healthy_and_resolved_helped_at_the_end_of_the_watch() {
    let mut story = flipped();
    story.resolves("WebIsSlow");
    let reading = watched(story.after(Span::seconds(10)));
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying, "the watch goes on");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verified);
    assert_eq!(story.ladder(1), Some(LadderEnd::Helped));
    assert_eq!((undos(&story), story.replicas, story.pages()), (0, 6, 0));
}

#[test]
fn healthy_and_still_firing_is_kept_and_the_next_rung_comes() {
    let mut story = flipped();
    let reading = watched(&story);
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying, "the alert counts only at the end");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    let next = story.last_step();
    assert_eq!((story.step(next).rung_number, story.step(next).purpose.is_fix()), (1, true));
    assert_eq!((undos(&story), story.replicas), (0, 6));
}

#[test]
fn healthy_and_still_firing_at_the_end_of_the_ladder_goes_to_people() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    assert_eq!(story.ladder(1), Some(LadderEnd::Exhausted));
    assert_eq!((undos(&story), story.replicas, story.pages()), (0, 6, 1));
}

#[test]
fn what_fails_by_itself_goes_back_once_and_then_people_have_it() {
    let mut story = flipped();
    let reading = watched(&story);
    story.measures(reading);
    let flip = story.last_step();
    let reading = broken(story.after(Span::seconds(5)));
    story.measures(reading);
    assert_eq!(story.phase(flip), Phase::Ineffective);
    assert!(matches!(story.step(flip).answer, Some(Answer::Broke { .. })));
    assert_eq!((undos(&story), story.pages()), (1, 0));
    goes_back(&mut story);
    let reason = Reason::Broke { why: "1 endpoints of green are ready".into() };
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason }), "no next rung");
    assert_eq!((undos(&story), story.pages(), story.intents().len()), (1, 1, 0));
    // It goes on firing: nothing is flipped again.
    story.after(Span::minutes(20)).observes();
    story.performs();
    assert_eq!((undos(&story), story.replicas, story.starts_count()), (1, 4, 2));
}

#[test]
fn what_never_gets_well_goes_back_too() {
    let mut story = flipped();
    let reading = broken(&story);
    story.measures(reading);
    assert_eq!(undos(&story), 1);
    goes_back(&mut story);
    assert_eq!(story.pages(), 1);
}

#[test]
fn before_it_has_settled_nothing_counts() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    let reading = broken(story.after(Span::seconds(20)));
    story.measures(reading);
    assert_eq!((story.phase(story.last_step()), undos(&story)), (Phase::Verifying, 0));
}

#[test]
fn a_resolve_does_not_excuse_what_fails() {
    let mut story = flipped();
    story.resolves("WebIsSlow");
    let flip = story.last_step();
    let reading = broken(story.after(Span::seconds(5)));
    story.measures(reading);
    assert!(matches!(story.step(flip).answer, Some(Answer::Broke { .. })));
    goes_back(&mut story);
    assert_eq!((undos(&story), story.pages()), (1, 1));
}

#[test]
fn a_resolve_while_it_waits_to_go_back_does_not_keep_it() {
    let mut story = flipped();
    let reading = broken(&story);
    story.measures(reading);
    story.resolves("WebIsSlow");
    assert_eq!(story.phase(story.last_step()), Phase::Observing, "nobody answers: perhaps that is why it resolved");
    goes_back(&mut story);
    assert_eq!((undos(&story), story.pages()), (1, 1));
}

#[test]
fn an_unread_target_is_not_a_broken_one() {
    let mut story = flipped();
    let unread = TargetReading::Unread { problem: "the API server does not answer".into() };
    let reading = Reading { target: unread, ..story.reading() };
    story.measures(reading);
    assert_eq!((story.phase(story.last_step()), undos(&story)), (Phase::Verifying, 0));
}

#[test]
fn what_somebody_else_changed_meanwhile_is_left_to_people_with_the_difference() {
    let mut story = flipped();
    let reading = broken(&story);
    story.measures(reading);
    story.replicas = 9;
    story.observes();
    let undo = story.last_step();
    assert_eq!(story.phase(undo), Phase::Dropped);
    let said = story.step(undo).reason.as_ref().unwrap().says(&story.policy.zone);
    assert!(said.contains("replicas are 9, nightshift left 6"), "{said}");
    assert_eq!((story.replicas, story.pages(), undos(&story)), (9, 1, 1));
}

#[test]
fn whoever_took_it_over_hears_at_once_that_it_got_worse_and_it_goes_back_once() {
    for lowered in [false, true] {
        let mut story = flipped();
        let flip = story.last_step();
        story.reloads(|spec| if lowered { spec.mode = Mode::Shadow } else { spec.rules[0].remediate.clear() });
        assert_eq!((story.phase(flip), story.pages()), (Phase::Verifying, 1), "it is verified by its own text");
        let reading = broken(&story);
        story.measures(reading);
        assert!(matches!(story.step(flip).answer, Some(Answer::Broke { .. })));
        assert_eq!((undos(&story), story.pages()), (1, 2));
        goes_back(&mut story);
        assert_eq!((undos(&story), story.pages(), story.starts_count()), (1, 2, 2), "said once");
        assert!(story.state.locks.is_empty());
    }
}

#[test]
fn after_an_acknowledge_it_still_goes_back_and_nobody_is_woken_twice() {
    let mut story = flipped();
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    let reading = broken(&story);
    story.measures(reading);
    goes_back(&mut story);
    let reason = Reason::Broke { why: "1 endpoints of green are ready".into() };
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason }));
    assert_eq!((undos(&story), story.pages()), (1, 0));
    assert!(story.posts().iter().any(|post| post.starts_with("Over to you: what it switched to is not well")));
}

#[test]
fn after_a_person_resolved_it_goes_back_and_they_are_woken() {
    let mut story = flipped();
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!((story.phase(story.last_step()), story.pages()), (Phase::Verifying, 0));
    let reading = broken(&story);
    story.measures(reading);
    assert_eq!((undos(&story), story.pages()), (1, 1));
    goes_back(&mut story);
    assert_eq!((undos(&story), story.pages(), story.incident_state(1)), (1, 1, "resolved"));
    // The end came before: PagerDuty is not told that this is over too.
    let wants: Vec<_> = story.state.letters_due(100).into_iter().filter_map(|letter| letter.page?.wants).collect();
    assert_eq!(wants, [PageState::Triggered]);
    assert!(story.state.locks.is_empty());
}

#[test]
fn what_fires_again_elsewhere_ends_no_watch_and_waits_for_its_end() {
    let mut story = flipped();
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    story.after(Span::seconds(5)).resolves("WebIsSlow");
    story.after(Span::seconds(5)).fires("WebIsSlow");
    let flip = StepId { incident: IncidentId(1), number: 1 };
    for target in [watched(&story).target, TargetReading::Unread { problem: "no answer".into() }] {
        let reading = Reading { target, ..story.reading() };
        story.measures(reading);
        assert_eq!(story.phase(flip), Phase::Verifying, "it is watched to the end");
    }
    story.observes();
    let other = story.last_step();
    assert_eq!((other.incident, story.reason(other)), (IncidentId(2), "target_lock"));
    let reading = broken(&story);
    story.measures(reading);
    assert!(matches!(story.step(flip).answer, Some(Answer::Broke { .. })));
    // What goes back goes first; only then the other incident's step is judged, on what it sees then.
    story.observes();
    story.performs();
    assert_eq!((story.replicas, story.phase(other)), (4, Phase::Holding), "it is back");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.observes();
    assert_eq!((undos(&story), story.reason(other)), (1, "cooldown"), "its turn, and judged afresh");
    // Nothing of it fails: the verdict comes at the end.
    let mut story = flipped();
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    story.after(Span::seconds(5)).resolves("WebIsSlow");
    story.after(Span::seconds(5)).fires("WebIsSlow");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    assert!(matches!(story.step(flip).answer, Some(Answer::Inconclusive { .. })));
    assert_eq!(undos(&story), 0);
}

#[test]
fn with_contact_lost_it_still_goes_back() {
    let mut story = Story::with(|spec| {
        spec.rules[0].remediate[0].verify.resolved_within = Span::minutes(50);
        spec.lost_after = Span::minutes(30);
    });
    story.acts_on("WebIsSlow");
    story.after(Span::minutes(31));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Answered { at: story.now, alerts: [(fingerprint.clone(), Firing::Absent)].into() };
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason: Reason::LostContact }));
    let reading = broken(&story);
    story.measures(reading);
    assert_eq!((undos(&story), story.pages()), (1, 1));
    goes_back(&mut story);
    assert_eq!(story.pages(), 1);
}

#[test]
fn in_a_pause_it_waits_and_is_shown_and_people_hear_of_it_at_once() {
    let mut story = flipped();
    story.command("ann", Command::Pause { reason: String::new() });
    let reading = broken(&story);
    story.measures(reading);
    story.observes();
    let undo = story.last_step();
    assert_eq!((story.phase(undo), story.reason(undo)), (Phase::Holding, "paused"));
    assert_eq!((undos(&story), story.pages(), story.replicas), (1, 1, 6));
    story.command("ann", Command::Resume { pause_file_present: false });
    goes_back(&mut story);
    assert_eq!((undos(&story), story.pages()), (1, 2), "that it waited, and that it is back and theirs");
}

#[test]
fn in_a_pause_whoever_has_it_already_hears_once() {
    let mut story = flipped();
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    story.command("ann", Command::Pause { reason: String::new() });
    let reading = broken(&story);
    story.measures(reading);
    story.observes();
    assert_eq!((undos(&story), story.pages(), story.replicas), (1, 1, 6));
    story.command("ann", Command::Resume { pause_file_present: false });
    goes_back(&mut story);
    assert_eq!((undos(&story), story.pages(), story.replicas), (1, 1, 4));
}

#[test]
fn after_its_verdict_it_is_peoples() {
    let mut story = flipped();
    story.resolves("WebIsSlow");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    let flip = story.last_step();
    assert_eq!(story.phase(flip), Phase::Verified);
    let reading = broken(story.after(Span::seconds(1)));
    assert!(story.input(Input::Measured { step: flip, reading }).is_empty());
    assert_eq!((undos(&story), story.replicas, story.pages()), (0, 6, 0));
}

#[test]
fn a_persons_veto_of_its_target_keeps_it_from_going_back_by_itself() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "web"]);
        spec.rules[0].remediate[0].if_ineffective = IfIneffective::Keep;
    });
    let first = story.acts_on("WebIsSlow");
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    story.observes();
    story.performs();
    let second = story.last_step();
    story.after(Span::seconds(40));
    assert_eq!((story.phase(first), story.phase(second)), (Phase::Ineffective, Phase::Verifying));
    story.command("ann", Command::Undo { step: first });
    let reading = broken(&story);
    story.measures(reading);
    assert!(matches!(story.step(second).answer, Some(Answer::Broke { .. })));
    let by_itself =
        |event: &&Event| matches!(event, Event::StepPlanned { purpose: Purpose::Undo { by: None, .. }, .. });
    assert_eq!((story.events().filter(by_itself).count(), story.pages()), (0, 1));
}

#[test]
fn what_can_not_go_back_is_said_though_people_have_it() {
    let mut story = flipped();
    story.reloads(|spec| spec.rules[0].remediate.clear());
    let reading = broken(&story);
    story.measures(reading);
    story.replicas = 9;
    story.observes();
    let undo = story.last_step();
    assert_eq!((story.phase(undo), story.replicas, undos(&story)), (Phase::Dropped, 9, 1));
    assert_eq!(story.pages(), 3, "the hand-over, that it fails, and that it stays so");
    assert!(story.posts().last().unwrap().contains("replicas are 9, nightshift left 6"));
    assert!(story.state.locks.is_empty());
}

#[test]
fn a_colour_that_is_watched_after_a_flip_is_not_restarted_by_another_incident() {
    let mut story = Story::with(|spec| {
        let traffic = Object::BlueGreen {
            namespace: "production".into(),
            service: "web".into(),
            selector: "version".into(),
            colors: ["blue".into(), "green".into()],
            deployment: "web-{color}".into(),
        };
        let green = Object::Workload {
            namespace: "production".into(),
            kind: Kind::Deployment,
            name: "web-green".into(),
            selector: None,
        };
        for (name, object) in [("traffic", traffic), ("green", green)] {
            spec.targets.insert(name.into(), TargetSpec { choice: Choice::One { object }, bounds: None });
        }
        let mut flips = rule("blue-is-bad", "BlueIsBad", &["traffic"]);
        flips.remediate[0].action = "kubernetes/flip".into();
        let mut restarts = rule("green-is-slow", "GreenIsSlow", &["green"]);
        restarts.remediate[0].action = "kubernetes/restart".into();
        spec.rules.extend([flips, restarts]);
    });
    story.acts_on("BlueIsBad");
    story.after(Span::seconds(40));
    assert_eq!(story.starts_count(), 1, "the flip is done, and green is watched");
    story.fires("GreenIsSlow");
    story.observes();
    story.performs();
    assert_eq!(
        story.starts_count(),
        1,
        "green is restarted while it is watched: its dip flips the traffic back to blue"
    );
}

/// A flip that has settled, and a set whose storm can stop everything.
fn flipped_beside_a_fleet(if_ineffective: IfIneffective) -> (Story, StepId) {
    let mut story = fleet(|spec| {
        spec.brake = Some(Brake { at_least: 1_000, ..BRAKE });
        spec.rules[0].remediate[0].if_ineffective = if_ineffective;
    });
    let flip = story.acts_on("WebIsSlow");
    story.after(Span::seconds(40));
    (story, flip)
}

fn all_is_braked(story: &mut Story) {
    for number in 1..=6 {
        fires(story, number);
    }
    assert_eq!(story.state.counts().braked, [None]);
}

fn pages_of(story: &Story, flip: StepId) -> usize {
    let of_it = |event: &&Event| matches!(event, Event::PageReleased { incident, .. } if *incident == flip.incident);
    story.events().filter(of_it).count()
}

fn waits_for_an_hour(story: &mut Story) {
    for _ in 0..60 {
        story.after(Span::minutes(1)).observes();
        story.performs();
    }
    assert_eq!(story.replicas, 6);
}

#[test]
fn what_broke_goes_back_though_everything_is_braked() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Keep);
    all_is_braked(&mut story);
    let reading = broken(&story);
    story.measures(reading);
    goes_back(&mut story);
    assert_eq!((undos(&story), pages_of(&story, flip)), (1, 1));
}

#[test]
fn what_broke_and_waits_for_the_end_of_a_pause_wakes_people_once() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Keep);
    story.command("ann", Command::Pause { reason: "looking".into() });
    let reading = broken(&story);
    story.measures(reading);
    waits_for_an_hour(&mut story);
    assert_eq!(pages_of(&story, flip), 1, "nightshift broke it, and may not put it back");
    for _ in 0..3 {
        story.command("ann", Command::Resume { pause_file_present: false });
        story.command("ann", Command::Pause { reason: "looking again".into() });
        story.after(Span::minutes(1)).observes();
    }
    assert_eq!(pages_of(&story, flip), 1, "once");
    story.crashes();
    story.command("ann", Command::Resume { pause_file_present: false });
    story.after(Span::minutes(2));
    goes_back(&mut story);
}

#[test]
fn a_pause_that_stops_what_broke_from_going_back_wakes_people() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Keep);
    let reading = broken(&story);
    story.measures(reading);
    assert_eq!(pages_of(&story, flip), 0);
    story.command("ann", Command::Pause { reason: String::new() });
    assert_eq!((story.phase(story.last_step()), pages_of(&story, flip)), (Phase::Holding, 1));
}

#[test]
fn whoever_has_it_is_told_that_it_is_not_put_back() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Keep);
    story.command("ann", Command::Acknowledge { incident: flip.incident });
    story.command("bob", Command::Pause { reason: String::new() });
    let reading = broken(&story);
    story.measures(reading);
    story.observes();
    let says = |event: &&Event| {
        matches!(event, Event::Tell { note: Some(note), .. }
            if note.text == "Over to you: what it switched to is not well: 1 endpoints of green are ready; it is not put back yet: paused by bob.")
    };
    assert_eq!((pages_of(&story, flip), story.events().filter(says).count()), (0, 1));
}

/// It is put back when it did not help, and has not helped.
fn to_be_put_back(story: &mut Story, flip: StepId) {
    let reading = watched(story.after(Span::minutes(3)));
    story.measures(reading);
    story.observes();
    let back = story.step(flip).undone_by.unwrap();
    assert_eq!((undos(story), story.phase(back)), (1, Phase::Holding));
}

#[test]
fn what_only_did_not_help_waits_for_the_brake_and_the_storm_has_it() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Undo);
    all_is_braked(&mut story);
    to_be_put_back(&mut story, flip);
    waits_for_an_hour(&mut story);
    assert_eq!((pages_of(&story, flip), story.pages()), (0, 1), "the storm's page is for it too");
}

#[test]
fn what_did_not_help_and_waits_for_the_end_of_a_pause_wakes_people_once() {
    let (mut story, flip) = flipped_beside_a_fleet(IfIneffective::Undo);
    story.command("ann", Command::Pause { reason: String::new() });
    to_be_put_back(&mut story, flip);
    waits_for_an_hour(&mut story);
    assert_eq!((pages_of(&story, flip), story.pages()), (1, 1), "it fires, and nothing is done");
}
