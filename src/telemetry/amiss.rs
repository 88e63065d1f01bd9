//! What somebody must set right at a receiver, in words, for as long as it is so: a key that is refused, a page that is not
//! there. Said once, loudly, and shown until it is mended.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

pub struct Amiss {
    lines: Mutex<BTreeMap<String, String>>,
    /// Gets all that is wrong now, each time that it changes.
    changed: Box<dyn Fn(Vec<String>) + Send + Sync>,
}

impl Amiss {
    #[must_use]
    pub fn new(changed: impl Fn(Vec<String>) + Send + Sync + 'static) -> Amiss {
        Amiss { lines: Mutex::default(), changed: Box::new(changed) }
    }

    /// `of`: what it is about, in words. None: nothing is wrong with it.
    pub fn set(&self, of: &str, line: Option<String>) {
        let lines: Vec<String> = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.get(of) == line.as_ref() {
                return;
            }
            match &line {
                Some(line) => drop(lines.insert(of.to_owned(), line.clone())),
                None => drop(lines.remove(of)),
            }
            lines.values().cloned().collect()
        };
        match line {
            Some(line) => tracing::error!("{line}"),
            None => tracing::info!("{of} is taken again"),
        }
        (self.changed)(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_wrong_is_said_once_and_taken_back_when_it_is_mended() {
        let said: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let heard = Arc::clone(&said);
        let amiss = Amiss::new(move |lines| heard.lock().unwrap().push(lines));
        amiss.set("key", None);
        for line in ["bad key", "bad key", "worse key"] {
            amiss.set("key", Some(line.to_owned()));
        }
        amiss.set("page", Some("no page".to_owned()));
        amiss.set("key", None);
        let all: [&[&str]; 4] = [&["bad key"], &["worse key"], &["worse key", "no page"], &["no page"]];
        assert_eq!(*said.lock().unwrap(), all);
    }
}
