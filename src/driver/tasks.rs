//! A set of named tasks in flight: each key at most once, every end is reported, a panic too.
//!
//! Tasks are never cancelled: a call that writes has its own deadline and is waited for. What is still in flight at the
//! end of the process is let go, and the next start reads back what became of it.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
};
use tokio::task::{Id, JoinSet};

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End<T> {
    Done(T),
    /// With what the panic said.
    Panicked(String),
}

pub struct TaskSet<K, T> {
    tasks: JoinSet<T>,
    keys: HashMap<Id, K>,
    in_flight: BTreeMap<K, ()>,
}

impl<K: Ord + Clone, T: Send + 'static> Default for TaskSet<K, T> {
    fn default() -> TaskSet<K, T> {
        TaskSet { tasks: JoinSet::new(), keys: HashMap::new(), in_flight: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, T: Send + 'static> TaskSet<K, T> {
    /// Begins it, unless its key is in flight.
    pub fn begin(&mut self, key: K, task: impl Future<Output = T> + Send + 'static) -> bool {
        if self.in_flight.contains_key(&key) {
            return false;
        }
        let id = self.tasks.spawn(task).id();
        self.keys.insert(id, key.clone());
        self.in_flight.insert(key, ());
        true
    }

    #[must_use]
    pub fn is_in_flight(&self, key: &K) -> bool {
        self.in_flight.contains_key(key)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The next end of any; pending while there is none in flight. Cancelling the wait loses nothing.
    pub async fn next_end(&mut self) -> (K, End<T>) {
        loop {
            let (id, end) = match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, value))) => (id, End::Done(value)),
                Some(Err(error)) => (error.id(), End::Panicked(what_it_said(error))),
            };
            if let Some(key) = self.keys.remove(&id) {
                self.in_flight.remove(&key);
                return (key, end);
            }
        }
    }

    /// Lets go of what is in flight without cutting it off.
    pub fn let_go(mut self) {
        self.tasks.detach_all();
    }
}

fn what_it_said(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_message(panic.as_ref()),
        Err(error) => error.to_string(),
    }
}

/// The text of a panic, if it is one.
#[must_use]
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_in_flight_at_most_once_and_a_panic_is_an_end() {
        let mut tasks: TaskSet<u8, u8> = TaskSet::default();
        assert!(tasks.begin(1, async { 7 }));
        assert!(!tasks.begin(1, async { 8 }), "the key is in flight");
        assert_eq!(tasks.next_end().await, (1, End::Done(7)));
        assert!(tasks.begin(1, async { panic!("broken") }), "it may be begun again after its end");
        assert_eq!(tasks.next_end().await, (1, End::Panicked("broken".to_owned())));
        assert!(tasks.is_empty());
    }
}
