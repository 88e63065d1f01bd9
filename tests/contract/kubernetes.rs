//! A namespace with what one Kubernetes action is done to, behind a proxy that picks calls.

use crate::{
    stage::{MEASURED_SOON, Written},
    support::{ControlPlane, TestNamespace, api_proxy::ApiProxy, failing::Failing, wait_until},
};
use nightshift::model::alert::Labels;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const SOON: Duration = Duration::from_secs(40);

pub struct Cluster {
    namespace: TestNamespace<'static>,
    proxy: ApiProxy,
    action: String,
    /// The judge counts from here.
    done_before: usize,
}

impl Cluster {
    pub async fn set(action: &str, test: &str) -> Cluster {
        let plane = ControlPlane::shared().await;
        let word = action.rsplit('/').next().unwrap();
        let namespace = plane.namespace(&format!("{word}-{test}")).await;
        if action == "kubernetes/flip" {
            for color in ["blue", "green"] {
                let deployment = namespace.deployment(&format!("web-{color}"), 2);
                deployment.pod_label("service", "web").pod_label("version", color).ready().await;
            }
            let selector = json!({"service": "web", "version": "blue"});
            let service = json!({"metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}});
            namespace.create_object("service", &service).await;
        } else {
            namespace.deployment("web", 3).ready().await;
        }
        if action == "kubernetes/undo" {
            let second = json!([{"name": "app", "image": "example.invalid/app:2"}]);
            let template = json!({"spec": {"template": {"spec": {"containers": second}}}});
            namespace.patch("deployment", "web", &template).await;
        }
        let proxy = ApiProxy::start(plane);
        Cluster { namespace, proxy, action: action.to_owned(), done_before: 0 }
    }

    pub fn written(&self) -> Written {
        let namespace = &self.namespace.name;
        let kubeconfig = self.namespace.kubeconfig_through(self.proxy.address());
        let web = format!("{{kubernetes: {{namespace: {namespace}, deployment: web}}}}");
        let (target, with) = match self.action.as_str() {
            "kubernetes/scale" => (
                format!("{{kubernetes: {{namespace: {namespace}, deployment: web}}, replicas: {{min: 1, max: 90}}}}"),
                "{replicas: +1}",
            ),
            "kubernetes/flip" => (
                format!(
                    "{{kubernetes: {{namespace: {namespace}, service: web}}, blue_green: {{selector: version, colors: \
                     [blue, green], deployment: 'web-{{color}}'}}}}"
                ),
                "{watch: 1m}",
            ),
            _ => (web, "{}"),
        };
        // A flip is measured as long as it watches.
        let verify = if self.kind() == "service" { "{settle: 1s}" } else { MEASURED_SOON };
        Written { settings: format!("kubernetes: {{kubeconfig: '{}'}}\n", kubeconfig.display()), target, with, verify }
    }

    fn kind(&self) -> &'static str {
        if self.action == "kubernetes/flip" { "service" } else { "deployment" }
    }

    pub fn failing(&self) -> &Arc<Failing> {
        self.proxy.failing()
    }

    pub async fn ready(&mut self) -> Labels {
        self.rests().await;
        self.done_before = self.namespace.acts().await.len();
        let mut pods = self.pods().await.into_iter();
        pods.next().map(|(pod, _)| ("pod".to_owned(), pod)).into_iter().collect()
    }

    /// Names and uids of those that stay.
    async fn pods(&self) -> BTreeSet<(String, String)> {
        let pods = self.namespace.list("pod", "").await;
        let stay = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        stay.map(|pod| (word(&pod["metadata"]["name"]), word(&pod["metadata"]["uid"]))).collect()
    }

    pub async fn rests(&self) {
        if self.kind() == "deployment" {
            self.namespace.until_rolled_out("web").await;
            let wanted = self.namespace.object("deployment", "web").await["spec"]["replicas"].as_u64().unwrap();
            wait_until("as many pods as are wanted", SOON, async || {
                let pods = self.namespace.list("pod", "").await.len() as u64;
                if pods == wanted { Ok(()) } else { Err(format!("{pods} of {wanted}")) }
            })
            .await;
        }
    }

    pub async fn done(&self) -> usize {
        let acts = self.namespace.acts().await;
        let ours = &acts[self.done_before..];
        assert!(ours.len() <= 1, "{} wrote more than once: {ours:#?}", self.action);
        ours.len()
    }

    pub async fn state(&self) -> String {
        let object = self.namespace.object(self.kind(), "web").await;
        json!([object["metadata"]["generation"], object["spec"], self.pods().await]).to_string()
    }

    pub async fn essence(&self) -> String {
        self.namespace.object(self.kind(), "web").await["spec"].to_string()
    }
}
