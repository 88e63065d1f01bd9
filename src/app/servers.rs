//! The two listeners, with their authentication: who may send alerts, who may ask and command.

use super::{
    pagerduty,
    reload::{Reload, Reread},
    slack::Callers,
    tasks::{OnExit, Stage, Tasks},
};
use crate::{
    config::{Settings, process_variables, settings::Right as WrittenRight},
    engine::EngineHandle,
    http::{
        api::{self, AdminState, Facts},
        api_auth::{ApiAuth, Right, Rights},
        auth::{WebhookAuth, refuse_unauthenticated},
        intake::Intake,
        limits::{ALERTMANAGER_MAX_BODY, IN_FLIGHT_BYTES, InFlight, PAGERDUTY_MAX_BODY, SLACK_MAX_BODY},
        reloadable::Reloadable,
        senders::SenderLimiter,
        server::{Server, ServerLimits},
        signature::SigningKeys,
        tls::{ClientCertificates, ReloadableTls, TlsFiles},
    },
    journal,
    model::problem::Problem,
    peer::statuspage::client::StatuspageClient,
    source::{
        self,
        alertmanager::route::{self, AlertmanagerRoute},
        pagerduty::route::{self as pagerduty_route, PagerDutyRoute},
        slack::{
            desk::Desk,
            route::{self as slack_route, SlackRoute},
        },
    },
    telemetry::{labels::Listener, metrics::Metrics, notices::Notices, slack_socket::SocketBoard},
};
use anyhow::{Context as _, anyhow};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::TcpListener;

/// How often the listeners' connections and panics are shown as metrics.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// Both sockets, bound before anything else is touched: a second daemon fails here, loudly.
pub struct Ports {
    webhooks: (TcpListener, SocketAddr),
    admin: (TcpListener, SocketAddr),
}

impl Ports {
    #[must_use]
    pub fn webhooks(&self) -> SocketAddr {
        self.webhooks.1
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.1
    }
}

pub async fn bind(settings: &Settings) -> anyhow::Result<Ports> {
    Ok(Ports {
        webhooks: listen(settings.listen.webhooks, "webhooks").await?,
        admin: listen(settings.listen.admin, "admin").await?,
    })
}

async fn listen(address: SocketAddr, name: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} (listen.{name}): is another nightshift running?"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// What the admin listener shows.
pub struct Admin<'a> {
    pub engine: &'a EngineHandle,
    pub journal: &'a journal::Handle,
    pub metrics: &'a Metrics,
    pub facts: Facts,
    pub notices: Notices,
    pub reload: &'a Arc<Reload>,
    /// Where clicks and commands that come over HTTP are done, where any are taken.
    pub desk: Option<Desk>,
    /// How Socket Mode is, where there is one.
    pub slack_socket: Option<SocketBoard>,
}

/// The peers that are configured, by name.
pub fn peers(settings: &Settings, reload: &Reload) -> Vec<String> {
    let peers = [
        (!settings.alertmanager.urls.is_empty(), "alertmanager"),
        (reload.sees_kubernetes(), "kubernetes"),
        (!settings.databases.is_empty(), "postgres"),
        (settings.pages_through_pagerduty() || settings.pagerduty.token.is_some(), "pagerduty"),
        (settings.prometheus_url.is_some(), "prometheus"),
        (settings.slack.is_some(), "slack"),
        (settings.statuspage.is_some(), "statuspage"),
    ];
    peers.into_iter().filter(|(there, _)| *there).map(|(_, name)| name.to_owned()).collect()
}

/// Everything that decides who is let in, reloadable in place.
pub struct Servers {
    intake: Intake,
    webhook_auth: Arc<Reloadable<WebhookAuth>>,
    slack_keys: Arc<Reloadable<SigningKeys>>,
    pagerduty_keys: Arc<Reloadable<SigningKeys>>,
    api_auth: Arc<Reloadable<ApiAuth>>,
    tls: Option<Arc<ReloadableTls>>,
    settings: Settings,
}

impl Servers {
    pub fn build(settings: &Settings) -> anyhow::Result<Servers> {
        let webhook_auth = route::auth_of(&settings.alertmanager_source).map_err(|problem| anyhow!("{problem}"))?;
        refuse_unauthenticated(settings.listen.webhooks, &webhook_auth).map_err(|problem| anyhow!(problem))?;
        let api_auth = api_auth(settings)?;
        api_auth.refuse_open(settings.listen.admin).map_err(|problem| anyhow!(problem))?;
        let tls = match &settings.listen.tls {
            None => None,
            Some(files) => {
                let clients = match &files.client_ca_file {
                    None => ClientCertificates::None,
                    Some(ca_file) => ClientCertificates::Optional { ca_file: ca_file.clone() },
                };
                let (cert_file, key_file) = (files.cert_file.clone(), files.key_file.clone());
                Some(Arc::new(ReloadableTls::load(TlsFiles { cert_file, key_file, clients })?))
            }
        };
        Ok(Servers {
            intake: Intake {
                senders: Arc::new(SenderLimiter::default()),
                in_flight: InFlight::new(IN_FLIGHT_BYTES),
                max_body: ALERTMANAGER_MAX_BODY,
            },
            webhook_auth: Arc::new(Reloadable::new(webhook_auth)),
            slack_keys: Arc::new(Reloadable::new(slack_keys(settings))),
            pagerduty_keys: Arc::new(Reloadable::new(SigningKeys::new(&settings.pagerduty_secrets))),
            api_auth: Arc::new(Reloadable::new(api_auth)),
            tls,
            settings: settings.clone(),
        })
    }

    /// Reads tokens, passwords and certificates anew, and looks what else has changed. What can't be read keeps the old, and is
    /// a problem. `callers`: who speaks to Slack. `page`: who speaks to Statuspage. `pages`: who speaks to PagerDuty.
    pub fn secrets(
        &self,
        callers: Option<Callers>,
        page: Option<Arc<StatuspageClient>>,
        pages: pagerduty::Callers,
    ) -> impl Fn() -> Reread + Send + Sync + 'static {
        let (webhook_auth, shown) = (Arc::clone(&self.webhook_auth), Arc::clone(&self.api_auth));
        let (tls, settings) = (self.tls.clone(), self.settings.clone());
        let (slack, signs) = (Arc::clone(&self.slack_keys), Arc::clone(&self.pagerduty_keys));
        move || {
            let (mut problems, mut waiting) = (Vec::new(), None);
            match Settings::load(settings.read_from.as_deref(), process_variables()) {
                Err(more) => problems.extend(more),
                Ok((fresh, _)) => {
                    match route::auth_of(&fresh.alertmanager_source) {
                        Ok(auth) => webhook_auth.replace(auth),
                        Err(problem) => {
                            problems.push(Problem::error("sources.alertmanager", 0, 0, problem.to_string()))
                        }
                    }
                    slack.replace(slack_keys(&fresh));
                    signs.replace(SigningKeys::new(&fresh.pagerduty_secrets));
                    if let (Some(page), Some(fresh)) = (&page, &fresh.statuspage) {
                        page.replace_key(fresh.api_key.clone());
                    }
                    if let (Some(callers), Some(slack)) = (&callers, &fresh.slack) {
                        callers.replace_tokens(slack);
                    }
                    pages.replace_secrets(&fresh);
                    waiting = Some(fresh.waiting_since(&settings));
                    match api_auth(&fresh) {
                        Ok(auth) => shown.replace(auth),
                        Err(problem) => problems.push(Problem::error("api.tokens", 0, 0, problem.to_string())),
                    }
                }
            }
            if let Some(Err(problem)) = tls.as_ref().map(|tls| tls.reload()) {
                problems.push(Problem::error("listen.tls", 0, 0, problem.to_string()));
            }
            Reread { problems, waiting }
        }
    }

    /// Lets the world in: from here on webhooks are taken.
    pub fn spawn(self, tasks: &mut Tasks, ports: Ports, shown: Admin<'_>) {
        let mut routes = route::routes(AlertmanagerRoute {
            intake: self.intake.clone(),
            auth: self.webhook_auth,
            engine: shown.engine.clone(),
            metrics: shown.metrics.clone(),
        });
        if !self.pagerduty_keys.current().is_empty() {
            routes.extend(pagerduty_route::routes(PagerDutyRoute {
                intake: Intake { max_body: PAGERDUTY_MAX_BODY, ..self.intake.clone() },
                keys: self.pagerduty_keys,
                engine: shown.engine.clone(),
                metrics: shown.metrics.clone(),
            }));
        }
        if let Some(desk) = shown.desk {
            routes.extend(slack_route::routes(SlackRoute {
                intake: Intake { max_body: SLACK_MAX_BODY, ..self.intake },
                keys: self.slack_keys,
                desk,
                clock: Arc::clone(shown.engine.clock()),
                metrics: shown.metrics.clone(),
            }));
        }
        let webhooks = source::listener(routes);
        let reload = Arc::clone(shown.reload);
        let admin = api::routes::router(AdminState {
            engine: shown.engine.clone(),
            journal: Arc::clone(shown.journal),
            metrics: shown.metrics.clone(),
            auth: self.api_auth,
            reload: Arc::new(move |by| {
                let reload = Arc::clone(&reload);
                Box::pin(async move { reload.run(&by).await })
            }),
            pause_file: self.settings.pause_file.clone(),
            facts: Arc::new(shown.facts),
            slack_socket: shown.slack_socket,
            notices: shown.notices,
            in_flight: InFlight::new(api::IN_FLIGHT_BYTES),
        });
        let limits = ServerLimits { ..ServerLimits::default() };
        let mut shown_stats = Vec::new();
        let listeners = [
            ("admin", Listener::Admin, ports.admin, admin),
            ("webhooks", Listener::Webhooks, ports.webhooks, webhooks),
        ];
        for (name, label, (listener, _), router) in listeners {
            let mut server = Server::new(listener, router).with_limits(limits.clone());
            shown_stats.push((name, label, server.stats()));
            if let Some(tls) = &self.tls {
                server = server.with_tls(Arc::clone(tls));
            }
            tasks.spawn(name, Stage::Work, OnExit::Stop, |stop| async move {
                let drained = server.run(async move { stop.cancelled().await }).await;
                if drained.cut > 0 {
                    tracing::warn!(listener = name, cut = drained.cut, "connections were cut at the end");
                }
                Ok(())
            });
        }
        let metrics = shown.metrics.clone();
        tasks.spawn("connections", Stage::Work, OnExit::Stop, |stop| async move {
            let mut panics = BTreeMap::new();
            loop {
                for (name, label, stats) in &shown_stats {
                    metrics.set_connections(*label, stats.open.load(Ordering::Relaxed));
                    let seen: u64 = stats.panics.load(Ordering::Relaxed);
                    for _ in panics.insert(*name, seen).unwrap_or(0)..seen {
                        metrics.panic_caught(name);
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(SHOW_EVERY) => {}
                }
            }
        });
    }
}

/// With what Slack signs what it sends; empty where nothing is taken over HTTP.
pub fn slack_keys(settings: &Settings) -> SigningKeys {
    SigningKeys::new(settings.slack.as_ref().map_or(&[], |slack| slack.signing_secrets.as_slice()))
}

fn api_auth(settings: &Settings) -> anyhow::Result<ApiAuth> {
    if settings.tokens.is_empty() {
        return Ok(ApiAuth::loopback());
    }
    let rights = |may: &[WrittenRight]| {
        let rights: Vec<Right> = may.iter().map(|right| right_of(*right)).collect();
        Rights::of(&rights)
    };
    let tokens =
        settings.tokens.iter().map(|token| (token.name.clone(), token.token.clone(), rights(&token.may))).collect();
    ApiAuth::with_tokens(tokens).map_err(|problem| anyhow!("{problem}"))
}

fn right_of(written: WrittenRight) -> Right {
    match written {
        WrittenRight::Read => Right::Read,
        WrittenRight::Ack => Right::Ack,
        WrittenRight::Approve => Right::Approve,
        WrittenRight::Undo => Right::Undo,
        WrittenRight::Pause => Right::Pause,
        WrittenRight::Admin => Right::Admin,
    }
}
