//! A value that a reload replaces whole, while those who hold the old one finish with it.

use std::sync::{Arc, PoisonError, RwLock};

/// Readers take an `Arc` and keep it as long as they need; a writer never waits for them.
#[derive(Debug)]
pub struct Reloadable<T>(RwLock<Arc<T>>);

impl<T> Reloadable<T> {
    pub fn new(value: T) -> Reloadable<T> {
        Reloadable(RwLock::new(Arc::new(value)))
    }

    /// What holds now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        // The lock is held only to copy or replace a pointer, so a poisoned one still holds a whole value.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another value in its place; requests under way keep the one they took.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_took_the_old_value_keeps_it() {
        let secret = Reloadable::new("old");
        let taken = secret.current();
        secret.replace("new");
        assert_eq!((*taken, *secret.current()), ("old", "new"));
    }
}
