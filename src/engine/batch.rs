//! One batch on its way: what is answered together, what is written for it, what is told after the commit.

use super::{
    entry::{self, EntryError},
    lanes::Request,
};
use crate::{
    decide::{Illegal, State},
    journal::{Head, Row},
    model::{alert::Alert, event::Event, input::Input, time::Micros},
};
use std::sync::Arc;

/// An entry that is decided and sealed, not yet durable.
pub(super) struct Sealed {
    pub seq: u64,
    pub at: Micros,
    pub input: Input,
    pub events: Arc<[Event]>,
}

/// Decided together, committed together.
pub(super) struct Batch {
    /// The last entry: its own last, or the one before it.
    pub head: Head,
    pub rows: Vec<Row>,
    pub entries: Vec<Sealed>,
    /// Delivered again and known: nothing is written, the delivery is remembered once the batch is durable.
    pub known: Vec<Box<Alert>>,
    /// Causes of inputs for which nothing is written, for the metrics.
    pub silent: Vec<&'static str>,
    /// Answered when it is durable.
    pub requests: Vec<Request>,
    pub inputs: usize,
}

impl Batch {
    pub fn new(head: Head) -> Batch {
        Batch {
            head,
            rows: Vec::new(),
            entries: Vec::new(),
            known: Vec::new(),
            silent: Vec::new(),
            requests: Vec::new(),
            inputs: 0,
        }
    }

    /// Seals one decided input; its seq.
    pub fn add(
        &mut self,
        at: Micros,
        epoch: u64,
        policy: &str,
        input: Input,
        events: Vec<Event>,
    ) -> Result<(u64, Arc<[Event]>), EntryError> {
        let row = entry::seal(&self.head, at, epoch, policy, &input, &events)?;
        let seq = row.seq;
        self.head = row.head();
        self.rows.push(row);
        let events: Arc<[Event]> = Arc::from(events);
        self.entries.push(Sealed { seq, at, input, events: Arc::clone(&events) });
        Ok((seq, events))
    }

    pub fn keep_silent(&mut self, input: Input) {
        self.silent.push(input.cause());
        if let Input::Alert(alert) = input {
            self.known.push(alert);
        }
    }

    /// Applies its entries to a state that was folded up to the one before it.
    pub fn apply_to(&self, state: &mut State) -> Result<(), Illegal> {
        for entry in &self.entries {
            for event in entry.events.iter() {
                state.apply(entry.at, &entry.input, event)?;
            }
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.inputs == 0 && self.requests.is_empty()
    }
}
