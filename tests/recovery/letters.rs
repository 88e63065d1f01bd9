//! Letters: whatever the journal owes reaches Slack, through kills at any moment and a Slack in every mood; each kill
//! leaves at most one message twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nightshift::model::event::Event;
use nightshift::model::letter::Slot;
use serde_json::{Value, json};

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::dice::{Dice, kills};
use crate::support::slack::{Behaviour, Slack, TOKEN};
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

/// A channel of its own for each rule: Slack takes one message a second and channel.
const CHANNELS: usize = 24;
const KILLS_A_JOURNAL: u64 = 40;
/// Slack takes fifty changes of a message a minute; every card may be owed once more.
const DELIVERED: Duration = Duration::from_secs(180);

#[derive(Default)]
struct Tally {
    kills: u64,
    letters: usize,
    twice: usize,
    lost_answers: u64,
}

/// A journal that lives through several kills, and its Slack.
struct Run {
    home: Home,
    slack: Slack,
    alerts: Vec<Alert>,
    kills: u64,
    lost_answers: u64,
}

impl Run {
    fn new() -> Run {
        let names: Vec<(String, String)> =
            (0..CHANNELS).map(|number| (format!("c{number}"), format!("C0CHANNEL{number:02}"))).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        let slack = Slack::start(&names);
        let rules: Vec<Value> = (0..CHANNELS)
            .map(|number| {
                json!({
                    "name": format!("rule-{number}"), "match": [format!("channel = \"{number}\"")], "severity": "P1",
                    "group_by": ["alertname"], "notify": {"slack": format!("#c{number}")},
                })
            })
            .collect();
        let home = Home::new(&json!({"rules": rules}).to_string());
        std::fs::write(home.path("token"), TOKEN).expect("written");
        let settings = json!({"channel": "#c0", "bot_token_file": home.path("token"), "api_url": slack.url()});
        Run { home: home.set("slack", settings), slack, alerts: Vec::new(), kills: 0, lost_answers: 0 }
    }

    /// One life: new incidents, old ones that end and fire again, and a Slack that does as it likes.
    async fn live(&mut self, dice: &mut Dice) {
        let mut daemon = self.home.start().await;
        for _ in 0..dice.between(1, 4) {
            self.something_happens(&daemon, dice).await;
            self.slack_has_a_mood(dice);
        }
        tokio::time::sleep(dice.millis(0, 150)).await;
        assert!(daemon.kill(), "it ended by itself:\n{}", daemon.said());
        self.kills += 1;
    }

    async fn something_happens(&mut self, daemon: &Daemon, dice: &mut Dice) {
        let number = self.alerts.len();
        let mut sent = Vec::new();
        if number == 0 || dice.between(0, 3) == 0 {
            let channel = (number % CHANNELS).to_string();
            let alert = Alert::firing(&[("alertname", &format!("Alert{number}")), ("channel", &channel)]);
            self.alerts.push(alert.clone());
            sent.push(alert);
        } else {
            let chosen = dice.between(0, number as u64) as usize;
            let old = self.alerts[chosen].clone();
            sent.push(old.resolved());
            let mut labels: BTreeMap<String, String> = serde_json::from_value(old.labels.clone()).expect("labels");
            let labels: Vec<(String, String)> = std::mem::take(&mut labels).into_iter().collect();
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            self.alerts[chosen] = Alert::firing(&labels);
            sent.push(self.alerts[chosen].clone());
        }
        for alert in sent {
            let taken = post_once(daemon.webhooks(), &body(&[alert])).await.expect("an answer");
            assert_eq!(taken, 200);
            // A firing begins after the end of the one before.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    fn slack_has_a_mood(&mut self, dice: &mut Dice) {
        match dice.between(0, 10) {
            0 => self.slack.next(Behaviour::Status(503)),
            1 => self.slack.next(Behaviour::RateLimited(1)),
            2 => self.slack.next(Behaviour::Reset),
            3 => self.slack.next(Behaviour::Slow(dice.millis(1, 100))),
            4 => self.slack.next(Behaviour::Error("internal_error")),
            5 => {
                self.slack.next(Behaviour::LoseAnswer);
                self.lost_answers += 1;
            }
            _ => {}
        }
    }

    /// One more life, in which everything that is owed is delivered; then what Slack has against what the journal says.
    async fn finish(self, tally: &mut Tally) {
        let mut daemon = self.home.start().await;
        wait_until("everything that is owed is delivered", DELIVERED, async || {
            let owed = Books::read(&self.home.options()).await.state["owed"].as_array().map_or(0, Vec::len);
            if owed == 0 { Ok(()) } else { Err(format!("{owed} letters are owed")) }
        })
        .await;
        assert!(daemon.kill());
        Books::verify(&self.home.options()).await;
        let books = Books::read(&self.home.options()).await;
        let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
        for (_, event) in books.events() {
            match event {
                Event::Tell { letter, .. } => drop(wanted.insert((letter.incident.to_string(), slot_of(letter.slot)))),
                Event::LetterFailed { letter, reason } => panic!("{letter:?} was given up: {reason}"),
                _ => {}
            }
        }
        let mut there: BTreeMap<(String, String), usize> = BTreeMap::new();
        for message in self.slack.messages() {
            let of = |name: &str| message.metadata["event_payload"][name].as_str().unwrap_or_default().to_owned();
            *there.entry((of("incident"), of("slot"))).or_default() += 1;
        }
        let lost: Vec<_> = wanted.iter().filter(|letter| !there.contains_key(letter)).collect();
        assert!(lost.is_empty(), "{} of {} letters never reached Slack: {lost:?}", lost.len(), wanted.len());
        let twice: usize = there.values().map(|times| times - 1).sum();
        assert!(twice as u64 <= self.kills, "{twice} messages too many after {} kills", self.kills);
        self.in_order();
        self.slack.assert_nothing_broken();
        tally.kills += self.kills;
        tally.letters += wanted.len();
        tally.twice += twice;
        tally.lost_answers += self.lost_answers;
    }

    /// Of each incident, the first copies of its posts stand in the order in which they were written.
    fn in_order(&self) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for message in self.slack.messages() {
            let payload = &message.metadata["event_payload"];
            let incident = payload["incident"].as_str().unwrap_or_default().to_owned();
            let number = payload["slot"].as_str().and_then(|slot| slot.strip_prefix("post-")?.parse::<u64>().ok());
            let Some(number) = number.filter(|number| seen.insert(*number)) else { continue };
            let before = last.insert(incident.clone(), number).unwrap_or(0);
            assert!(before < number, "incident {incident}: post {number} came after {before}");
        }
    }
}

/// As the metadata of a message names it.
fn slot_of(slot: Slot) -> String {
    match slot {
        Slot::Card => "card".to_owned(),
        Slot::Page(number) => format!("page-{number}"),
        Slot::Post(number) => format!("post-{number}"),
        Slot::Update => "update".to_owned(),
    }
}

async fn sweep(count: u64) {
    let (mut dice, began, mut tally) = (Dice::new(), Instant::now(), Tally::default());
    println!("seed {}", dice.seed);
    let mut run = Run::new();
    for number in 1..=count {
        run.live(&mut dice).await;
        if number % KILLS_A_JOURNAL == 0 && number < count {
            std::mem::replace(&mut run, Run::new()).finish(&mut tally).await;
        }
    }
    run.finish(&mut tally).await;
    let Tally { kills, letters, twice, lost_answers } = tally;
    println!(
        "letters: 0 of {letters} lost in {kills} kills and {lost_answers} lost answers, {twice} messages twice, {:.0?}, \
         seed {}",
        began.elapsed(),
        dice.seed
    );
    assert!(letters as u64 > count, "hardly anything was owed: nothing was tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_letter_is_lost_to_a_kill() {
    sweep(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long sweep"]
async fn long_no_letter_is_lost_to_a_kill() {
    sweep(kills(1000)).await;
}
