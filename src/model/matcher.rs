//! Alertmanager's matchers.
