//! What a journal holds, read as anybody may read it: beside the daemon, or after its death.

use std::collections::{BTreeMap, BTreeSet};

use nightshift::engine::entry::{self, Entry};
use nightshift::engine::{fold, replay};
use nightshift::journal::{Journal, PAGE_ROWS, export, sql};
use nightshift::model::event::Event;
use nightshift::model::id::StepId;
use nightshift::model::input::Input;
use nightshift::model::plan::Plan;
use nightshift::model::time::Micros;
use serde_json::Value;

/// A fold is made for a journal that stands still: an entry that comes meanwhile looks like one that can't be read.
const FOLDS: usize = 10;

pub struct Books {
    pub entries: Vec<Entry>,
    /// The state that they fold into.
    pub state: Value,
}

/// A step that was allowed to write, and how it ended.
#[derive(Clone, Debug)]
pub struct Started {
    pub seq: u64,
    pub at: Micros,
    pub plan: Plan,
    /// The last word of it: `step_applied`, `step_failed`, `step_unknown`, `step_verified`.
    pub outcome: Option<&'static str>,
    pub over: bool,
}

impl Books {
    /// Reads everything. The chain must be whole and must fold without damage.
    pub async fn read(options: &sql::Options) -> Books {
        Books::try_read(options).await.unwrap_or_else(|why| panic!("the journal can't be read: {why}"))
    }

    /// The same where the daemon may not have made it yet.
    pub async fn try_read(options: &sql::Options) -> Result<Books, String> {
        let journal = sql::Sql::open_read_only(options).await.map_err(|error| error.to_string())?;
        let mut entries = Vec::new();
        loop {
            let next = entries.last().map_or(1, |entry: &Entry| entry.seq + 1);
            let rows = journal.rows(next, PAGE_ROWS).await.map_err(|error| error.to_string())?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                entries.push(entry::open(row).map_err(|error| error.to_string())?);
            }
        }
        let mut folded = fold::fold(&journal).await.map_err(|error| error.to_string())?;
        for _ in 0..FOLDS {
            if folded.damage.is_none() {
                break;
            }
            folded = fold::fold(&journal).await.map_err(|error| error.to_string())?;
        }
        assert_eq!(folded.damage, None, "the journal folds");
        let state = serde_json::to_value(&folded.state).expect("JSON");
        journal.close().await;
        Ok(Books { entries, state })
    }

    /// `nightshift journal verify` and a replay, which must find nothing.
    pub async fn verify(options: &sql::Options) -> export::Report {
        let journal = sql::Sql::open_read_only(options).await.expect("a journal");
        let report = export::verify(&journal, options.head_file_path()).await.expect("readable");
        assert!(report.is_whole(), "{report:?}");
        let replayed = replay::replay(&journal).await.expect("readable");
        assert_eq!(replayed.difference, None, "it replays to the same decisions");
        journal.close().await;
        report
    }

    pub fn events(&self) -> impl Iterator<Item = (&Entry, &Event)> {
        self.entries.iter().flat_map(|entry| entry.events.iter().map(move |event| (entry, event)))
    }

    /// How many entries each alert's webhooks made.
    pub fn alerts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            if let Input::Alert(alert) = &entry.input {
                *counts.entry(alert.fingerprint.to_string()).or_default() += 1;
            }
        }
        counts
    }

    pub fn fingerprints(&self) -> BTreeSet<String> {
        self.alerts().into_keys().collect()
    }

    /// Every step that started.
    pub fn started(&self) -> BTreeMap<StepId, Started> {
        let mut steps: BTreeMap<StepId, Started> = BTreeMap::new();
        for (entry, event) in self.events() {
            if let Event::StepStarted { step, plan, .. } = event {
                let started =
                    Started { seq: entry.seq, at: entry.at, plan: (**plan).clone(), outcome: None, over: false };
                assert!(steps.insert(*step, started).is_none(), "step {step} started twice");
            }
            let Some(step) = event.step().and_then(|step| steps.get_mut(&step)) else { continue };
            let (outcome, over) = match event {
                Event::StepApplied { .. } => ("step_applied", false),
                Event::StepFailed { .. } => ("step_failed", true),
                Event::StepUnknown { .. } => ("step_unknown", true),
                Event::StepVerified { .. } => ("step_verified", true),
                _ => continue,
            };
            (step.outcome, step.over) = (Some(outcome), over);
        }
        steps
    }

    /// The targets that are locked.
    pub fn locks(&self) -> usize {
        self.state["locks"].as_array().map_or(0, Vec::len)
    }

    pub fn paused(&self) -> Option<&Value> {
        self.state.get("paused").filter(|paused| !paused.is_null())
    }
}
