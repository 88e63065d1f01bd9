//! What this process can see and do: actions, collectors, Alertmanager, Prometheus, built from the settings.

use crate::{
    action::{
        self,
        kubernetes::{flip::smoke::Smoker, workload::Itself},
        noop::Noop,
    },
    config::Settings,
    driver::RealWorld,
    evidence,
    http::client::{Client, ClientSettings},
    journal,
    model::target::{Kind, Object},
    peer::{
        alertmanager::Alertmanagers, kubernetes::Cluster, pagerduty::rest::PagerDutyApi, postgres::Databases,
        prometheus::Prometheus,
    },
};
use secrecy::ExposeSecret;
use std::{sync::Arc, time::Duration};

/// How long the start waits for the API server to say which Deployment this is.
const FIND_ITSELF_WITHIN: Duration = Duration::from_secs(5);

/// The actions and collectors that this build has. Rules are checked against them, connected or not.
pub struct Abilities {
    pub actions: action::Registry,
    pub evidence: evidence::Registry,
    /// nightshift's own workload, never a target.
    pub itself: Option<Object>,
    /// Connected to when they are first needed, or by their own tasks.
    pub databases: Databases,
    /// There is a cluster to act on; unconnected: something says where one is.
    pub sees_kubernetes: bool,
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
        let http = Client::build(&ClientSettings::default()).map_err(|error| error.to_string())?;
        let smoke = Smoker::connected(&settings.smoke_hosts, http.raw());
        Ok(Abilities::of(&cluster, itself, databases(settings)?, &smoke))
    }

    /// Without a connection: enough to check rules.
    #[must_use]
    pub fn unconnected(settings: &Settings) -> Abilities {
        // A URL that cannot be read was told with the settings.
        let databases = databases(settings).unwrap_or_default();
        let itself = settings.kubernetes.itself.as_ref();
        let itself =
            itself.map(|itself| Itself { namespace: itself.namespace.clone(), deployment: itself.deployment.clone() });
        let smoke = Smoker::unconnected(&settings.smoke_hosts);
        let is_named = settings.kubernetes.kubeconfig.is_some() || itself.is_some() || Cluster::is_around();
        Abilities { sees_kubernetes: is_named, ..Abilities::of(&Cluster::absent(), itself, databases, &smoke) }
    }

    /// Without settings that could be used.
    #[must_use]
    pub fn unknown() -> Abilities {
        Abilities::of(&Cluster::absent(), None, Databases::default(), &Smoker::unknown())
    }

    fn of(cluster: &Cluster, itself: Option<Itself>, databases: Databases, smoke: &Smoker) -> Abilities {
        let mut actions = action::Registry::default();
        action::kubernetes::register(&mut actions, cluster, itself.as_ref(), smoke);
        action::postgres::register(&mut actions, &databases);
        actions.add(Arc::new(Noop));
        let mut collectors = evidence::Registry::default();
        evidence::kubernetes::register(&mut collectors, cluster);
        evidence::postgres::register(&mut collectors, &databases);
        let itself = itself.map(|itself| Object::Workload {
            namespace: itself.namespace,
            kind: Kind::Deployment,
            name: itself.deployment,
            selector: None,
        });
        let sees_kubernetes = cluster.is_configured();
        Abilities { actions, evidence: collectors, itself, databases, sees_kubernetes }
    }
}

fn databases(settings: &Settings) -> Result<Databases, String> {
    Databases::new(settings.databases.iter().map(|(name, url)| (name.as_str(), url.expose_secret())))
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
    pagerduty: Option<PagerDutyApi>,
    journal: &journal::Handle,
) -> RealWorld {
    let urls = &settings.alertmanager.urls;
    RealWorld {
        actions: abilities.actions.clone(),
        collectors: abilities.evidence.clone(),
        alertmanager: (!urls.is_empty()).then(|| Alertmanagers::new(http.clone(), urls)),
        prometheus: settings.prometheus_url.as_ref().map(|url| Prometheus::new(http.clone(), url)),
        pagerduty,
        journal: Arc::clone(journal),
        evidence_keep: settings.evidence_keep,
    }
}
