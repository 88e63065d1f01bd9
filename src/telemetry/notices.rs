//! What is wrong for as long as it is, in words: the status shows it until it is mended. By topic, so that each part says its
//! own anew and takes it back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Clone, Default)]
pub struct Notices(Arc<Mutex<BTreeMap<&'static str, Vec<String>>>>);

impl Notices {
    /// In place of what the topic said before; nothing, where there is nothing any more.
    pub fn set(&self, topic: &'static str, lines: Vec<String>) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            topics.remove(topic);
        } else {
            topics.insert(topic, lines);
        }
    }

    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_says_its_own_until_it_takes_it_back() {
        let notices = Notices::default();
        notices.set("slack", vec!["one".to_owned(), "two".to_owned()]);
        notices.set("settings", vec!["three".to_owned()]);
        assert_eq!(notices.lines(), ["three", "one", "two"]);
        notices.clone().set("slack", Vec::new());
        assert_eq!(notices.lines(), ["three"]);
    }
}
