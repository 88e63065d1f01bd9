//! Building, starting and stopping the daemon: the only place that sees every part.
//!
//! [`App::start`] reads as the story of a start: journal, policy, engine, then what gives it work, then what lets the
//! world in. [`App::stop`] is the same story backwards.

mod asking;
pub mod open;
pub mod pagerduty;
pub mod pause_file;
pub mod policy;
pub mod reload;
pub mod servers;
pub mod signals;
pub mod slack;
pub mod tasks;
pub mod world;

use crate::{
    config::Settings,
    driver::{self, courier},
    engine::{self, Clock, EngineHandle, PauseFlag, RealClock, StartOptions, snapshot},
    http::{
        api::Facts,
        client::{Client, ClientSettings, install_crypto},
    },
    model::problem::Problem,
    notify::{Notifiers, statuspage::Statuspage},
    peer::statuspage::client::StatuspageClient,
    telemetry::{
        labels,
        metrics::{Metrics, Words},
        notices::Notices,
        observer::{MetricsObserver, keep_gauges},
    },
};
use anyhow::{Context as _, anyhow};
use reload::Reload;
use servers::{Admin, Servers};
use signals::Signals;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tasks::{OnExit, Stage, Tasks};
use tokio_util::sync::CancellationToken;
use world::Abilities;

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A stop is over within 20 s: writes in flight are waited for, and each stage for at most this.
const STOP_STAGE_WITHIN: Duration = Duration::from_secs(16);

/// The words of the metrics' closed labels.
const WORDS: Words = Words {
    actions: &[
        "kubernetes/scale",
        "kubernetes/restart",
        "kubernetes/undo",
        "kubernetes/flip",
        "kubernetes/delete_pod",
        "postgres/kill_idle",
        "postgres/cancel_slow",
        "noop",
    ],
    guards: &crate::model::step::Guard::WORDS,
    inputs: &crate::model::input::Input::CAUSES,
    tasks: tasks::NAMES,
};

/// A running daemon.
pub struct App {
    pub engine: EngineHandle,
    pub metrics: Metrics,
    /// The addresses that were really bound.
    pub webhooks: SocketAddr,
    pub admin: SocketAddr,
    tasks: Tasks,
    ending: CancellationToken,
}

/// Runs the daemon until a signal or a failure ends it. `warnings`: of the settings.
pub async fn serve(settings: Settings, warnings: Vec<Problem>) -> anyhow::Result<()> {
    for warning in &warnings {
        tracing::warn!("{}", warning.in_one_line());
    }
    // Taken first: a signal during the start must not kill it half-way.
    let signals = Signals::take().context("handling signals")?;
    let app = App::start(settings, Some(signals)).await?;
    app.ending.cancelled().await;
    app.stop().await
}

impl App {
    /// Starts everything; it listens when this returns. Without `signals` (tests) none are handled.
    pub async fn start(settings: Settings, signals: Option<Signals>) -> anyhow::Result<App> {
        install_crypto();
        let clock: Arc<dyn Clock> = Arc::new(RealClock::default());
        let started_at = clock.now();
        let metrics = Metrics::new(VERSION, started_at, WORDS);
        let ports = servers::bind(&settings).await?;
        let abilities = Abilities::connect(&settings).await.map_err(|error| anyhow!(error))?;
        let loaded = policy::load(&settings, &abilities).map_err(Refused)?;
        for warning in &loaded.warnings {
            tracing::warn!("{}", warning.in_one_line());
        }
        let (journal, damage) = open::journal(&settings).await?;
        let pause = PauseFlag::default();
        if settings.pause_file.as_ref().is_some_and(|path| path.try_exists().unwrap_or(true)) {
            pause.set();
        }
        let holder = open::holder(&settings);
        let replica = holder.clone();
        let notices = Notices::default();
        let observer = MetricsObserver::new(metrics.clone(), WORDS, notices.clone());
        let silence = observer.silence();
        let options = StartOptions {
            journal: Arc::clone(&journal),
            clock: Arc::clone(&clock),
            observer,
            policy: Arc::clone(&loaded.policy),
            holder: holder.clone(),
            version: VERSION.to_owned(),
            damage,
            pause,
        };
        let (writer, engine) = engine::start(options).await.context("starting on the journal")?;
        metrics.journal_opened(engine.health().seq);
        let severities: Vec<String> =
            loaded.policy.spec.severities.iter().map(|severity| severity.name.clone()).collect();
        metrics.rules_taken(clock.now(), &loaded.policy.hash, loaded.policy.spec.rules.len(), &severities);

        let ending = CancellationToken::new();
        let counted = metrics.clone();
        let mut tasks = Tasks::new(ending.clone(), move |name| counted.panic_caught(name));
        let told = engine.clone();
        tasks.spawn("engine", Stage::Core, OnExit::Stop, |stop| async move {
            let stopping = async {
                stop.cancelled().await;
                told.stop();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = writer.run() => ended.map_err(|why| why.to_string()),
                () = stopping => Ok(()),
            }
        });
        let (kept, leading) = (Arc::clone(&journal), engine.clone());
        tasks.spawn("lead", Stage::Keep, OnExit::Stop, |stop| async move {
            let stopped = async move { stop.cancelled().await };
            engine::start::keep_lead(kept, leading, holder, stopped).await.map_err(|why| why.to_string())
        });
        let keep = snapshot::Keep { entries: settings.journal_keep };
        let (kept, head, ticking) = (Arc::clone(&journal), engine.published().head(), Arc::clone(&clock));
        tasks.spawn("snapshot", Stage::Keep, OnExit::Stop, |stop| async move {
            snapshot::run(kept, head, ticking, keep, async move { stop.cancelled().await }).await;
            Ok(())
        });
        let http = Client::build(&ClientSettings::default()).map_err(|error| anyhow!("{error}"))?;
        let mut notifiers = Notifiers::default();
        let mut status_page = None;
        let doors = match &settings.slack {
            Some(slack) => {
                let doors = slack::open(&settings, slack, &http, &engine, &metrics, &notices, &mut tasks)?;
                notifiers.add("slack", Arc::clone(&doors.notifier) as _);
                Some(doors)
            }
            None => None,
        };
        if let Some(page) = &settings.statuspage {
            let client = StatuspageClient::new(http.clone(), &page.api_url, &page.page, page.api_key.clone());
            let client = Arc::new(client);
            status_page = Some(Arc::clone(&client));
            let ids = page.components.iter().map(|(name, component)| (name.clone(), component.id.clone())).collect();
            let (shown, counted) = (notices.clone(), metrics.clone());
            let notifier =
                Statuspage::new(Arc::clone(&client), ids, page.notify_subscribers).watched_by(move |lines| {
                    counted.set_receiver_refuses(labels::Receiver::Statuspage, lines.len());
                    shown.set("statuspage", lines);
                });
            let (asks, client) = (Arc::new(notifier), Arc::clone(&client));
            notifiers.add("statuspage", Arc::clone(&asks) as _);
            tasks.spawn("statuspage key", Stage::Work, OnExit::Stop, |stop| async move {
                asking::watch(|deadline| asks.ask(deadline), || client.key_replaced(), stop).await;
                Ok(())
            });
        }
        let pagerduty = pagerduty::open(&settings, &http, &metrics, &notices, &mut tasks);
        notifiers.add("pagerduty", Arc::clone(&pagerduty.notifier) as _);
        let posting = engine.clone();
        tasks.spawn("courier", Stage::Work, OnExit::Stop, |stop| async move {
            courier::run(posting, notifiers, async move { stop.cancelled().await }).await;
            Ok(())
        });
        let world = world::build(&settings, &abilities, &http.raw(), pagerduty.api.clone(), &journal);
        let context = driver::Context { engine: engine.clone(), world: Arc::new(world) };
        tasks.spawn("driver", Stage::Work, OnExit::Stop, |stop| async move {
            driver::run(context, async move { stop.cancelled().await }).await;
            Ok(())
        });
        for database in abilities.databases.all() {
            let database = database.clone();
            tasks.spawn("database", Stage::Work, OnExit::Stop, |stop| async move {
                database.keep_open(async move { stop.cancelled().await }).await;
                Ok(())
            });
        }
        let (watched, shown) = (engine.clone(), metrics.clone());
        tasks.spawn("gauges", Stage::Work, OnExit::Stop, |stop| async move {
            keep_gauges(shown, silence, watched, async move { stop.cancelled().await }).await;
            Ok(())
        });
        if let Some(path) = settings.pause_file.clone() {
            let watched = engine.clone();
            tasks.spawn("pause file", Stage::Work, OnExit::Stop, |stop| async move {
                pause_file::watch(path, watched, stop).await;
                Ok(())
            });
        }
        let servers = Servers::build(&settings)?;
        let secrets = servers.secrets(doors.as_ref().map(|doors| doors.callers.clone()), status_page, pagerduty);
        let reload =
            Reload::new(settings.clone(), abilities, engine.clone(), metrics.clone(), notices.clone(), secrets);
        let (webhooks, admin) = (ports.webhooks(), ports.admin());
        let facts = Facts {
            version: VERSION.to_owned(),
            started_at,
            replica: replica.clone(),
            journal: open::words(&settings),
            rules: loaded.files.join(", "),
            webhooks: webhooks.to_string(),
            admin: admin.to_string(),
            peers: servers::peers(&settings, &reload),
        };
        servers.spawn(
            &mut tasks,
            ports,
            Admin {
                engine: &engine,
                journal: &journal,
                metrics: &metrics,
                facts,
                notices,
                reload: &reload,
                desk: doors.as_ref().and_then(|doors| doors.over_http.clone()),
                slack_socket: doors.and_then(|doors| doors.socket),
            },
        );
        if let Some(signals) = signals {
            let (told, ending) = (engine.clone(), ending.clone());
            tasks.spawn("signals", Stage::Work, OnExit::Stop, |stop| async move {
                signals.run(told, reload, ending, stop).await;
                Ok(())
            });
        }
        tracing::info!(
            %webhooks,
            %admin,
            mode = loaded.policy.spec.mode.word(),
            rules = loaded.policy.spec.rules.len(),
            files = loaded.files.join(", "),
            "nightshift is ready"
        );
        Ok(App { engine, metrics, webhooks, admin, tasks, ending })
    }

    /// Whether something ended by itself, and the process should too.
    pub async fn ended(&self) {
        self.ending.cancelled().await;
    }

    /// No new action; what is in flight is finished or handed over; then goodbye to the journal.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.tasks.stop(STOP_STAGE_WITHIN).await;
        tracing::info!("nightshift has stopped");
        stopped.map_err(|problem| anyhow!(problem))
    }
}

/// Config or rules have problems: exit code 2, all of them shown.
#[derive(Debug, thiserror::Error)]
#[error("the rules have problems")]
pub struct Refused(pub Vec<Problem>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::step::Guard;

    #[test]
    fn every_action_and_every_guard_has_its_series() {
        let mut actions: Vec<&str> = Abilities::unknown().actions.names().collect();
        let mut words = WORDS.actions.to_vec();
        actions.sort_unstable();
        words.sort_unstable();
        assert_eq!(actions, words);
        let text = Metrics::new(VERSION, crate::model::time::Micros(0), WORDS).encode();
        for guard in Guard::ALL {
            let series = format!("nightshift_guard_verdicts_total{{guard=\"{}\",verdict=\"deny\"}}", guard.word());
            assert!(text.contains(&series), "no {series}");
        }
    }
}
