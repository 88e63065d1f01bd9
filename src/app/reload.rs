//! Reloading: rules, secrets and certificates anew. Bad ones keep the old, and log, metric and journal say so.

use super::{
    policy::{self, LoadedPolicy},
    world::Abilities,
};
use crate::{
    config::{Settings, settings::DEFAULT_FILE},
    decide::policy::short_hash,
    engine::EngineHandle,
    http::api::Reloaded,
    model::{input::Input, problem::Problem},
    telemetry::{metrics::Metrics, notices::Notices},
};
use std::sync::Arc;
use tokio::sync::Mutex;

pub struct Reload {
    settings: Settings,
    abilities: Abilities,
    engine: EngineHandle,
    metrics: Metrics,
    /// Certificates and tokens, which are files too.
    secrets: Box<dyn Fn() -> Reread + Send + Sync>,
    notices: Notices,
    /// One at a time, in the order of asking.
    turn: Mutex<()>,
}

/// What reading the settings once more brought.
#[derive(Debug, Default)]
pub struct Reread {
    pub problems: Vec<Problem>,
    /// Keys that have changed, and that only a restart takes. None: the settings could not be read.
    pub waiting: Option<Vec<String>>,
}

impl Reload {
    pub fn new(
        settings: Settings,
        abilities: Abilities,
        engine: EngineHandle,
        metrics: Metrics,
        notices: Notices,
        secrets: impl Fn() -> Reread + Send + Sync + 'static,
    ) -> Arc<Reload> {
        let secrets = Box::new(secrets);
        Arc::new(Reload { settings, abilities, engine, metrics, secrets, notices, turn: Mutex::new(()) })
    }

    /// Whether there is a cluster to act on.
    #[must_use]
    pub fn sees_kubernetes(&self) -> bool {
        self.abilities.sees_kubernetes
    }

    /// Reads everything that can be reloaded. `Err`: every problem; the old rules run on.
    pub async fn run(&self, by: &str) -> Result<Reloaded, Vec<Problem>> {
        let _turn = self.turn.lock().await;
        let Reread { mut problems, waiting } = (self.secrets)();
        let waits = waiting.and_then(|keys| self.waits(&keys));
        match policy::load(&self.settings, &self.abilities) {
            Ok(mut loaded) if problems.is_empty() => {
                loaded.warnings.extend(waits);
                self.take(loaded, by).await
            }
            Ok(_) => {
                problems.extend(waits);
                self.keep(problems, by).await
            }
            Err(more) => {
                // A file that both read is told once.
                let told = problems.len();
                let new = |problem: &Problem| !problems.iter().take(told).any(|known| known == problem);
                let more: Vec<Problem> = more.into_iter().filter(new).collect();
                problems.extend(more);
                problems.extend(waits);
                self.keep(problems, by).await
            }
        }
    }

    /// Whoever changed more than a reload takes must not think that it is in force.
    fn waits(&self, keys: &[String]) -> Option<Problem> {
        self.metrics.set_settings_waiting(keys.len());
        if keys.is_empty() {
            self.notices.set("settings", Vec::new());
            return None;
        }
        let keys = keys.join(", ");
        self.notices.set("settings", vec![format!("settings changed and are not used before a restart: {keys}")]);
        let file = self.settings.read_from.as_ref().map_or(DEFAULT_FILE.to_owned(), |path| path.display().to_string());
        let what = format!("changed since the start and not used: {keys}");
        Some(
            Problem::warning(file, 0, 0, what)
                .hint("restart nightshift to use it: a reload takes rules and secrets only"),
        )
    }

    async fn take(&self, loaded: LoadedPolicy, by: &str) -> Result<Reloaded, Vec<Problem>> {
        let LoadedPolicy { policy, warnings, .. } = loaded;
        if let Err(refused) = self.engine.load_policy(Arc::clone(&policy), by).await {
            let what = format!("the rules are fine, but the journal could not take them: {refused}");
            let problem = Problem::error("journal", 0, 0, what).hint("the old rules run on; reload again");
            return self.keep(vec![problem], by).await;
        }
        let severities: Vec<String> = policy.spec.severities.iter().map(|severity| severity.name.clone()).collect();
        let rules = policy.spec.rules.len();
        self.metrics.rules_taken(self.engine.clock().now(), &policy.hash, rules, &severities);
        for warning in &warnings {
            tracing::warn!("{}", warning.in_one_line());
        }
        tracing::info!(by, rules, policy = short_hash(&policy.hash), "rules loaded");
        Ok(Reloaded { policy: policy.hash.clone(), rules, warnings })
    }

    async fn keep(&self, problems: Vec<Problem>, by: &str) -> Result<Reloaded, Vec<Problem>> {
        self.metrics.rules_refused();
        tracing::error!(by, problems = problems.len(), "the reload was refused: the old rules run on");
        for problem in &problems {
            if problem.warning {
                tracing::warn!("{}", problem.in_one_line());
            } else {
                tracing::error!("{}", problem.in_one_line());
            }
        }
        let input = Input::PolicyRefused { problems: problems.clone(), by: by.to_owned() };
        if let Err(refused) = self.engine.command(input).await {
            tracing::error!(%refused, "the refused reload could not be journalled");
        }
        Err(problems)
    }
}
