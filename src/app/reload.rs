//! Reloading: rules, secrets and certificates anew. Bad ones keep the old, and log, metric and journal say so.

use super::{
    policy::{self, LoadedPolicy},
    world::Abilities,
};
use crate::{
    config::Settings,
    decide::policy::short_hash,
    engine::EngineHandle,
    http::api::Reloaded,
    model::{input::Input, problem::Problem},
    telemetry::metrics::Metrics,
};
use std::sync::Arc;
use tokio::sync::Mutex;

pub struct Reload {
    settings: Settings,
    abilities: Abilities,
    engine: EngineHandle,
    metrics: Metrics,
    /// Certificates and tokens, which are files too.
    secrets: Box<dyn Fn() -> Vec<Problem> + Send + Sync>,
    /// One at a time, in the order of asking.
    turn: Mutex<()>,
}

impl Reload {
    pub fn new(
        settings: Settings,
        abilities: Abilities,
        engine: EngineHandle,
        metrics: Metrics,
        secrets: impl Fn() -> Vec<Problem> + Send + Sync + 'static,
    ) -> Arc<Reload> {
        let secrets = Box::new(secrets);
        Arc::new(Reload { settings, abilities, engine, metrics, secrets, turn: Mutex::new(()) })
    }

    /// Whether there is a cluster to act on.
    #[must_use]
    pub fn sees_kubernetes(&self) -> bool {
        self.abilities.sees_kubernetes
    }

    /// Reads everything that can be reloaded. `Err`: every problem; the old rules run on.
    pub async fn run(&self, by: &str) -> Result<Reloaded, Vec<Problem>> {
        let _turn = self.turn.lock().await;
        let mut problems = (self.secrets)();
        match policy::load(&self.settings, &self.abilities) {
            Ok(loaded) if problems.is_empty() => self.take(loaded, by).await,
            Ok(_) => self.keep(problems, by).await,
            Err(more) => {
                // A file that both read is told once.
                let told = problems.len();
                let new = |problem: &Problem| !problems.iter().take(told).any(|known| known == problem);
                let more: Vec<Problem> = more.into_iter().filter(new).collect();
                problems.extend(more);
                self.keep(problems, by).await
            }
        }
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
            tracing::error!("{}", problem.in_one_line());
        }
        let input = Input::PolicyRefused { problems: problems.clone(), by: by.to_owned() };
        if let Err(refused) = self.engine.command(input).await {
            tracing::error!(%refused, "the refused reload could not be journalled");
        }
        Err(problems)
    }
}
