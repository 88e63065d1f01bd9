use super::*;
use crate::{
    action::Boxed,
    decide::Policy,
    engine::{
        Clock, FakeClock,
        testing::{Bench, MORNING, firing, policy, rule, until},
    },
    model::{alert::HOLD_LABEL, letter::Slot, mode::Mode},
    notify::Notifier,
};
use std::sync::Mutex;
use tokio::task::JoinSet;

/// Takes a second for every letter, and remembers how many it had at a time.
struct Desk {
    clock: FakeClock,
    answer: Result<Told, Transient>,
    now: Mutex<usize>,
    /// Of each letter when it came: the time, and how many there were with it.
    came: Mutex<Vec<(Micros, usize)>>,
}

impl Desk {
    fn new(clock: &FakeClock, answer: Result<Told, Transient>) -> Arc<Desk> {
        Arc::new(Desk { clock: clock.clone(), answer, now: Mutex::default(), came: Mutex::default() })
    }

    fn came(&self) -> Vec<(Micros, usize)> {
        self.came.lock().unwrap().clone()
    }

    fn most(&self) -> usize {
        self.came().iter().map(|(_, with)| *with).max().unwrap_or(0)
    }
}

impl Notifier for Desk {
    fn send<'a>(&'a self, _: &'a DueLetter, _: &'a IncidentView, _: Duration) -> Boxed<'a, Result<Told, Transient>> {
        Box::pin(async move {
            let with = {
                let mut now = self.now.lock().unwrap();
                *now += 1;
                *now
            };
            self.came.lock().unwrap().push((self.clock.now(), with));
            self.clock.sleep_until(self.clock.now() + Span::seconds(1)).await;
            *self.now.lock().unwrap() -= 1;
            self.answer.clone()
        })
    }
}

fn taken() -> Result<Told, Transient> {
    Ok(Told::Sent { external: None })
}

/// Six incidents, each of which wakes people in Slack and in PagerDuty.
async fn six_pages() -> Bench {
    let mut spec = policy(vec![rule("a", Mode::Shadow, None)]).spec.clone();
    spec.pagerduty.pages = true;
    let bench = Bench::with(Arc::new(Policy::new(spec).unwrap())).await;
    let asking = (0..6).map(|number| match firing(&format!("A{number}"), MORNING) {
        Input::Alert(mut alert) => {
            alert.labels.insert(HOLD_LABEL.to_owned(), "true".to_owned());
            Input::Alert(alert)
        }
        other => other,
    });
    bench.handle.intake(asking.collect()).await.unwrap();
    bench
}

fn delivers(bench: &Bench, slack: &Arc<Desk>, pagerduty: &Arc<Desk>) -> JoinSet<()> {
    let mut notifiers = Notifiers::default();
    notifiers.add("slack", Arc::<Desk>::clone(slack));
    notifiers.add("pagerduty", Arc::<Desk>::clone(pagerduty));
    let mut tasks = JoinSet::new();
    tasks.spawn(run(bench.handle.clone(), notifiers, std::future::pending()));
    tasks
}

#[tokio::test]
async fn pages_are_told_one_at_a_time_and_other_letters_a_few() {
    let bench = six_pages().await;
    let (slack, pagerduty) = (Desk::new(&bench.clock, taken()), Desk::new(&bench.clock, taken()));
    let _tasks = delivers(&bench, &slack, &pagerduty);
    until(&bench.clock, "all is told", || pagerduty.came().len() >= 6 && slack.came().len() >= 12).await;
    assert_eq!((pagerduty.most(), slack.most()), (1, IN_FLIGHT));
}

#[tokio::test]
async fn while_a_receiver_fails_one_letter_at_a_time_asks_whether_it_is_back() {
    let bench = six_pages().await;
    let limited = Err(Transient { reason: "rate_limited", retry_after: Some(Duration::from_secs(120)) });
    let (slack, pagerduty) = (Desk::new(&bench.clock, limited), Desk::new(&bench.clock, taken()));
    let _tasks = delivers(&bench, &slack, &pagerduty);
    until(&bench.clock, "it was tried again and again", || slack.came().len() >= IN_FLIGHT + 4).await;
    let came = slack.came();
    let (first, later) = came.split_at(IN_FLIGHT);
    assert!(later.iter().all(|(_, with)| *with == 1), "{came:?}");
    let mut last = first[0].0;
    for (at, _) in later {
        assert!(*at - last >= Span::seconds(120), "{came:?}");
        last = *at;
    }
    assert_eq!(pagerduty.came().len(), 6, "it delays nobody else");
}

#[tokio::test]
async fn what_waits_to_be_set_right_is_tried_again_now_and_then_and_goes_out_in_the_end() {
    let bench = six_pages().await;
    let waits = Ok(Told::Waits { reason: "bad_routing_key".to_owned() });
    let (slack, pagerduty) = (Desk::new(&bench.clock, taken()), Desk::new(&bench.clock, waits));
    let _tasks = delivers(&bench, &slack, &pagerduty);
    until(&bench.clock, "it was tried again and again", || pagerduty.came().len() >= 4).await;
    let came = pagerduty.came();
    let apart = came.windows(2).all(|two| two[1].0 - two[0].0 >= Span::seconds(30));
    assert!(apart, "{came:?}");
    let owed = bench.handle.read(|seen| seen.state.counts().letters_owed_to.get("pagerduty").copied()).await;
    assert_eq!(owed, Ok(Some(6)), "none is given up");
}

#[test]
fn a_receivers_pages_back_off_apart_from_what_else_it_gets() {
    let pagerduty = |incident, slot| {
        let receiver = Receiver::PagerDuty { service: "default".to_owned() };
        lane_of(&LetterKey { receiver, incident: IncidentId(incident), slot })
    };
    assert_ne!(pagerduty(1, Slot::Page(1)), pagerduty(1, Slot::Post(2)));
    assert_eq!(pagerduty(1, Slot::Page(1)), pagerduty(2, Slot::Page(3)));
}

#[test]
fn the_receivers_word_counts_and_else_the_wait_doubles_up_to_a_minute() {
    let asked = wait_after(1, Some(Duration::from_secs(30)), "a");
    assert!(asked >= Span::seconds(30) && asked <= Span::millis(37_500), "{asked}");
    assert!(wait_after(1, Some(Duration::from_secs(86_400)), "a") <= Span::millis(750_000));
    let waits: Vec<i64> = (1..12).map(|failures| wait_after(failures, None, "a").0).collect();
    assert!(waits.iter().all(|wait| *wait >= BACK_OFF_FIRST.0 && *wait <= BACK_OFF_LAST.0 * 5 / 4), "{waits:?}");
    assert_ne!(wait_after(3, None, "a"), wait_after(3, None, "b"), "two letters do not follow in step");
}
