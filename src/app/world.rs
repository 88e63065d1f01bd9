//! What this process can see and do: actions, collectors, Alertmanager, Prometheus, built from the settings.

use crate::{
    action::{self, Boxed, kubernetes::workload::Itself, noop::Noop},
    config::Settings,
    decide::work::AskedAlert,
    driver::{
        RealWorld,
        world::{EvidencePeer, FiringPeer, HealthPeer},
    },
    evidence, journal,
    model::{
        firing::FiringAnswer,
        input::Gathered,
        observation::{QueryReading, RuleReading},
        plan::hex,
        rung::Collector,
        target::{Kind, Object},
        time::{Micros, Span},
    },
    peer::{alertmanager::Alertmanagers, kubernetes::Cluster, prometheus::Prometheus},
};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

/// How long the start waits for the API server to say which Deployment this is.
const FIND_ITSELF_WITHIN: Duration = Duration::from_secs(5);

/// The actions and collectors that this build has. Rules are checked against them, connected or not.
pub struct Abilities {
    pub actions: action::Registry,
    pub evidence: evidence::Registry,
    /// nightshift's own workload, never a target.
    pub itself: Option<Object>,
}

impl Abilities {
    /// Connects to Kubernetes where it is configured or this runs in a cluster.
    pub async fn connect(settings: &Settings) -> Result<Abilities, String> {
        let kubernetes = &settings.kubernetes;
        let cluster = Cluster::connect(kubernetes.kubeconfig.as_deref(), kubernetes.context.as_deref()).await?;
        let named = kubernetes
            .itself
            .as_ref()
            .map(|itself| Itself { namespace: itself.namespace.clone(), deployment: itself.deployment.clone() });
        let itself = match named {
            Some(itself) => Some(itself),
            None => find_itself(&cluster).await,
        };
        Ok(Abilities::of(&cluster, itself))
    }

    /// Without a connection: enough to check rules.
    #[must_use]
    pub fn unconnected(settings: &Settings) -> Abilities {
        let itself = settings.kubernetes.itself.as_ref();
        let itself =
            itself.map(|itself| Itself { namespace: itself.namespace.clone(), deployment: itself.deployment.clone() });
        Abilities::of(&Cluster::absent(), itself)
    }

    fn of(cluster: &Cluster, itself: Option<Itself>) -> Abilities {
        let mut actions = action::Registry::default();
        action::kubernetes::register(&mut actions, cluster, itself.as_ref());
        actions.add(Arc::new(Noop));
        let mut collectors = evidence::Registry::default();
        evidence::kubernetes::register(&mut collectors, cluster);
        let itself = itself.map(|itself| Object::Workload {
            namespace: itself.namespace,
            kind: Kind::Deployment,
            name: itself.deployment,
            selector: None,
        });
        Abilities { actions, evidence: collectors, itself }
    }
}

/// In a cluster: the Deployment that owns this pod. Outside, or where it can't be learned: none.
async fn find_itself(cluster: &Cluster) -> Option<Itself> {
    if !cluster.is_configured() {
        return None;
    }
    let namespace = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
    let pod = std::fs::read_to_string("/etc/hostname").ok()?;
    let found = action::kubernetes::itself::find(cluster, namespace.trim(), pod.trim(), FIND_ITSELF_WITHIN).await;
    match found {
        Ok(itself) => itself,
        Err(error) => {
            tracing::warn!(%error, "cannot tell which Deployment this is: set kubernetes.self, so that it is never a target");
            None
        }
    }
}

/// The world that the driver works in.
pub fn build(
    settings: &Settings,
    abilities: &Abilities,
    http: &reqwest::Client,
    journal: &journal::Handle,
) -> RealWorld {
    let urls = &settings.alertmanager.urls;
    let alertmanager =
        (!urls.is_empty()).then(|| Arc::new(Alertmanagers::new(http.clone(), urls)) as Arc<dyn FiringPeer>);
    let prometheus = settings.prometheus_url.as_ref();
    let prometheus = prometheus.map(|url| Arc::new(Prometheus::new(http.clone(), url)) as Arc<dyn HealthPeer>);
    let evidence =
        Evidence { collectors: abilities.evidence.clone(), journal: Arc::clone(journal), keep: settings.evidence_keep };
    RealWorld { actions: abilities.actions.clone(), alertmanager, prometheus, evidence: Some(Arc::new(evidence)) }
}

impl FiringPeer for Alertmanagers {
    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], now: Micros, within: Duration) -> Boxed<'a, FiringAnswer> {
        Box::pin(self.ask(alerts, now, within))
    }
}

impl HealthPeer for Prometheus {
    fn rules<'a>(&'a self, names: &'a [String], within: Duration) -> Boxed<'a, RuleReading> {
        Box::pin(Prometheus::rules(self, names, within))
    }

    fn query<'a>(&'a self, query: &'a str, within: Duration) -> Boxed<'a, QueryReading> {
        Box::pin(Prometheus::query(self, query, within))
    }
}

/// Collects evidence and keeps it in the journal's store, outside the chain, under its digest.
struct Evidence {
    collectors: evidence::Registry,
    journal: journal::Handle,
    keep: Span,
}

impl EvidencePeer for Evidence {
    fn gather<'a>(
        &'a self,
        collector: &'a Collector,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Gathered, String>> {
        Box::pin(async move {
            let name = &collector.collect;
            let found =
                self.collectors.get(name).ok_or_else(|| format!("this nightshift has no collector `{name}`"))?;
            let collected = found.collect(&collector.target.object, &collector.with, within).await?;
            let digest = Sha256::digest(&collected.body);
            let until = (now + self.keep).0;
            let bytes = collected.body.len() as u64;
            let kept = self.journal.put_evidence(journal::Hash(digest.into()), &collected.body, until).await;
            kept.map_err(|error| format!("collected, but not kept: {error}"))?;
            Ok(Gathered { digest: hex(&digest), bytes, summary: collected.summary })
        })
    }
}
