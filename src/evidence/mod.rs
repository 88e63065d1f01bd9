//! Evidence: what a person will want to have seen, collected read-only before a step destroys it.
//!
//! Nothing is decided by it, and it never holds up a step: a collector has one deadline and gives what it got. One
//! file a collector, one line in its `register`.

pub mod kubernetes;
pub mod postgres;

use crate::model::target::Object;
use serde_json::Value;
use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The largest body that a collector gives; what is beyond is cut, and said so.
pub const BODY_LIMIT: usize = 1 << 20;

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// UTF-8 text or JSON, at most [`BODY_LIMIT`]. Untrusted: containers wrote it.
    pub body: Vec<u8>,
    /// One line for people.
    pub summary: String,
}

/// One kind of evidence.
pub trait Collector: Send + Sync {
    /// The word in rules files: `kubernetes/logs`.
    fn name(&self) -> &'static str;

    /// Checks `with` and the target when rules are loaded: all problems, as sentences.
    fn check(&self, with: &Value, target: &Object) -> Vec<String>;

    /// Reads only. Errors are sentences, without secrets; a part that could not be had is noted in the body instead.
    fn collect<'a>(
        &'a self,
        target: &'a Object,
        with: &'a Value,
        within: Duration,
    ) -> Boxed<'a, Result<Collected, String>>;
}

/// The collectors of this process, by name.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Collector>>);

impl Registry {
    pub fn add(&mut self, collector: Arc<dyn Collector>) {
        self.0.insert(collector.name(), collector);
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Collector>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}
