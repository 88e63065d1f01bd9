//! When each alert was last delivered, in memory only: a fact of the decisions that ask for it.
//!
//! A repeat of a known alert writes nothing, so the state may not know of it. After a start nothing is remembered until
//! a delivery or Alertmanager's API confirms.

use crate::model::{
    alert::{Alert, Status},
    id::Fingerprint,
    time::Micros,
};
use std::collections::{BTreeMap, BTreeSet};

/// Alerts remembered; beyond it the one that was delivered longest ago is forgotten (and asked for by API).
const REMEMBERED: usize = 200_000;

#[derive(Default)]
pub(super) struct Deliveries {
    last: BTreeMap<Fingerprint, Micros>,
    in_order: BTreeSet<(Micros, Fingerprint)>,
}

impl Deliveries {
    /// After the delivery is durable. A resolve ends what was remembered.
    pub fn remember(&mut self, alert: &Alert) {
        let earlier = self.last.get(&alert.fingerprint).copied();
        match alert.status {
            Status::Resolved => self.forget(&alert.fingerprint),
            Status::Firing if earlier.is_some_and(|at| at >= alert.received_at) => {}
            Status::Firing => {
                self.forget(&alert.fingerprint);
                self.last.insert(alert.fingerprint.clone(), alert.received_at);
                self.in_order.insert((alert.received_at, alert.fingerprint.clone()));
                if self.last.len() > REMEMBERED
                    && let Some((_, oldest)) = self.in_order.pop_first()
                {
                    self.last.remove(&oldest);
                }
            }
        }
    }

    pub fn last(&self, fingerprint: &Fingerprint) -> Option<Micros> {
        self.last.get(fingerprint).copied()
    }

    fn forget(&mut self, fingerprint: &Fingerprint) {
        if let Some(at) = self.last.remove(fingerprint) {
            self.in_order.remove(&(at, fingerprint.clone()));
        }
    }
}
