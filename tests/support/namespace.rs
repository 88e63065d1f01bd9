//! One test's namespace: its service account, its rights, its objects, and what the account wrote.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::audit::AuditEvent;
use super::control_plane::{ControlPlane, Refused};
use super::wait::wait_until;

/// The service account that the service under test uses.
pub const ACCOUNT: &str = "nightshift";

pub struct TestNamespace<'a> {
    plane: &'a ControlPlane,
    pub name: String,
    token: String,
}

pub(super) enum Rules {
    Documented,
    These(Value),
}

/// The rights that the actions, pods, Services and logs need, HPA-owned targets included.
pub fn documented_rules() -> Value {
    json!([
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"], "verbs": ["get", "patch", "update"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "patch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["get", "list", "patch"]},
    ])
}

impl<'a> TestNamespace<'a> {
    pub(super) async fn create(plane: &'a ControlPlane, test_name: &str, rules: Rules) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let label: String =
            test_name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let label = label.get(..label.len().min(45)).unwrap_or_default().trim_matches('-').to_owned();
        let name = format!("{label}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let rules = match rules {
            Rules::Documented => documented_rules(),
            Rules::These(rules) => rules,
        };
        let has_rights = rules.as_array().is_some_and(|rules| !rules.is_empty());
        let core = format!("/api/v1/namespaces/{name}");
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}");
        let binding = json!({
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}],
        });
        for (path, object) in [
            ("/api/v1/namespaces".to_owned(), json!({"metadata": {"name": name}})),
            (format!("{core}/serviceaccounts"), json!({"metadata": {"name": ACCOUNT}})),
            (format!("{rbac}/roles"), json!({"metadata": {"name": ACCOUNT}, "rules": rules})),
            (format!("{rbac}/rolebindings"), binding),
        ] {
            plane.post(&path, &object).await.unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        }
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                             "spec": {"expirationSeconds": 7200}});
        let path = format!("{core}/serviceaccounts/{ACCOUNT}/token");
        let answer = plane.post(&path, &request).await.unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        let token = answer["status"]["token"].as_str().expect("a token").to_owned();
        let namespace = Self { plane, name, token };
        if has_rights {
            namespace.until_rights_hold().await;
        }
        namespace
    }

    /// The authorizer learns of a new Role by its watch, a moment after the Role is made.
    async fn until_rights_hold(&self) {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": self.name},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        wait_until("the service account has its rights", Duration::from_secs(10), async || {
            let answer = self.plane.request_as(&self.token, "POST", path, "application/json", Some(&review)).await;
            let rules = answer.map_err(|refused| format!("{refused:?}"))?["status"]["resourceRules"].clone();
            // Everybody may review themselves; a rule of our own is one more.
            let ours = rules.as_array().is_some_and(|all| {
                all.iter().any(|rule| {
                    !rule["apiGroups"].to_string().contains("authorization.k8s.io")
                        && !rule["apiGroups"].to_string().contains("authentication.k8s.io")
                })
            });
            if ours { Ok(()) } else { Err(rules.to_string()) }
        })
        .await;
    }

    pub fn plane(&self) -> &'a ControlPlane {
        self.plane
    }

    /// The bearer token of the service account.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The service account's name in the audit log.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{ACCOUNT}", self.name)
    }

    /// A kubeconfig of the service account.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_through(self.plane.address())
    }

    /// The same by way of a proxy on loopback.
    pub fn kubeconfig_through(&self, proxy: std::net::SocketAddr) -> PathBuf {
        let path = self.plane.folder().join(format!("{}-{}.kubeconfig", self.name, proxy.port()));
        std::fs::write(&path, self.plane.kubeconfig_text(proxy.port(), &self.token, &self.name)).expect("written");
        path
    }

    // Objects, as admin.

    /// The API path of an object here: `path("deployment", "web")`, `path("deployment", "web/scale")`; of all of a
    /// kind with an empty name.
    pub fn path(&self, kind: &str, name: &str) -> String {
        let (group, plural) = match kind {
            "deployment" | "statefulset" | "daemonset" | "replicaset" => ("apis/apps/v1", format!("{kind}s")),
            "controllerrevision" => ("apis/apps/v1", "controllerrevisions".to_owned()),
            "hpa" => ("apis/autoscaling/v2", "horizontalpodautoscalers".to_owned()),
            "pdb" => ("apis/policy/v1", "poddisruptionbudgets".to_owned()),
            "pod" | "service" | "configmap" | "event" => ("api/v1", format!("{kind}s")),
            other => panic!("no path is known for a {other}"),
        };
        let slash = if name.is_empty() { "" } else { "/" };
        format!("/{group}/namespaces/{}/{plural}{slash}{name}", self.name)
    }

    pub async fn get(&self, kind: &str, name: &str) -> Result<Value, Refused> {
        self.plane.get(&self.path(kind, name)).await
    }

    /// The object, which must be there.
    pub async fn object(&self, kind: &str, name: &str) -> Value {
        self.get(kind, name).await.unwrap_or_else(|refused| panic!("{kind} {name}: {refused:?}"))
    }

    /// All of a kind; `selector` as in a label selector, or empty.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let path = format!("{}?labelSelector={selector}", self.path(kind, ""));
        let answer = self.plane.get(&path).await.unwrap_or_else(|refused| panic!("{kind}s: {refused:?}"));
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    pub async fn create_object(&self, kind: &str, object: &Value) -> Value {
        let path = self.path(kind, "");
        self.plane.post(&path, object).await.unwrap_or_else(|refused| panic!("create {kind}: {refused:?}\n{object}"))
    }

    /// JSON merge patch, as somebody else than nightshift would do it.
    pub async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Value {
        let path = self.path(kind, name);
        self.plane.patch(&path, patch).await.unwrap_or_else(|refused| panic!("patch {kind} {name}: {refused:?}"))
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        let path = self.path(kind, name);
        self.plane.delete(&path).await.unwrap_or_else(|refused| panic!("delete {kind} {name}: {refused:?}"));
    }

    /// `kubectl apply --server-side` of YAML or JSON, several documents too.
    pub async fn apply(&self, yaml: &str) {
        let arguments = ["-n", &self.name, "apply", "--server-side", "-f", "-"];
        let output = self.plane.kubectl(&arguments, Some(yaml)).await;
        assert!(output.status.success(), "kubectl apply: {}\n{yaml}", String::from_utf8_lossy(&output.stderr));
    }

    /// kubectl as admin in this namespace; its stdout. The test fails when kubectl does.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same where failing is an answer, for example `rollout status`.
    pub async fn try_kubectl(&self, arguments: &[&str]) -> std::process::Output {
        let all: Vec<&str> = ["-n", &self.name].into_iter().chain(arguments.iter().copied()).collect();
        self.plane.kubectl(&all, None).await
    }

    /// A Deployment to be made.
    pub fn deployment(&self, name: &str, replicas: u32) -> Workload<'_, 'a> {
        Workload::new(self, "deployment", "Deployment", name, replicas)
    }

    pub fn stateful_set(&self, name: &str, replicas: u32) -> Workload<'_, 'a> {
        Workload::new(self, "statefulset", "StatefulSet", name, replicas)
    }

    /// On the one node, so one pod.
    pub fn daemon_set(&self, name: &str) -> Workload<'_, 'a> {
        Workload::new(self, "daemonset", "DaemonSet", name, 1)
    }

    /// An HPA for a Deployment. There are no metrics: it enforces its bounds and nothing else.
    pub async fn autoscaler(&self, deployment: &str, min: u32, max: u32) -> Value {
        let object = json!({
            "metadata": {"name": deployment},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
                "minReplicas": min, "maxReplicas": max,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                             "target": {"type": "Utilization", "averageUtilization": 60}}}],
            },
        });
        self.create_object("hpa", &object).await
    }

    /// Waits until the rollout is complete as kubectl defines it, with all replicas available; gives the object.
    pub async fn until_rolled_out(&self, deployment: &str) -> Value {
        self.until("deployment", deployment, Duration::from_secs(30), rolled_out).await
    }

    /// Waits until `holds` says `Ok` of the object; `Err` says what is missing.
    pub async fn until(
        &self,
        kind: &str,
        name: &str,
        within: Duration,
        holds: impl Fn(&Value) -> Result<(), String>,
    ) -> Value {
        wait_until(&format!("{kind} {name} in {}", self.name), within, async || {
            let object = self.get(kind, name).await.map_err(|refused| format!("{refused:?}"))?;
            holds(&object).map_err(|missing| format!("{missing}: {}", object["status"]))?;
            Ok(object)
        })
        .await
    }

    // The judge.

    /// Every write of this namespace's service account, wherever it went, that was answered before this call.
    pub async fn writes(&self) -> Vec<AuditEvent> {
        self.plane.audit_settled().await;
        let user = self.user();
        self.plane.audit_writes(|event| event.user == user)
    }

    /// How often its spec was changed since it was made, by whomever: each change raises the generation by one.
    pub async fn spec_changes(&self, kind: &str, name: &str) -> usize {
        let generation = self.object(kind, name).await["metadata"]["generation"].as_u64().expect("a generation");
        usize::try_from(generation).expect("few") - 1
    }

    /// Those of them that changed something: no dry runs, no refusals.
    pub async fn acts(&self) -> Vec<AuditEvent> {
        self.writes().await.into_iter().filter(AuditEvent::acted).collect()
    }
}

/// What `kubectl rollout status` waits for.
pub fn rolled_out(deployment: &Value) -> Result<(), String> {
    let status = &deployment["status"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let updated = number(&status["updatedReplicas"]);
    if number(&status["observedGeneration"]) < number(&deployment["metadata"]["generation"]) {
        return Err("the controller hasn't seen the newest generation".to_owned());
    }
    if updated < wanted || number(&status["replicas"]) > updated || number(&status["availableReplicas"]) < updated {
        return Err(format!("wants {wanted}"));
    }
    Ok(())
}

/// The `reason` of a condition, empty when there is no such condition.
pub fn condition_reason<'v>(object: &'v Value, kind: &str) -> &'v str {
    let all = object["status"]["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    found.and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}

/// A workload to be made, with pods labelled `app: NAME`.
pub struct Workload<'n, 'a> {
    namespace: &'n TestNamespace<'a>,
    kind: &'static str,
    name: String,
    object: Value,
}

impl<'n, 'a> Workload<'n, 'a> {
    fn new(namespace: &'n TestNamespace<'a>, kind: &'static str, api_kind: &str, name: &str, replicas: u32) -> Self {
        let labels = json!({"app": name});
        let object = json!({
            "apiVersion": "apps/v1", "kind": api_kind,
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": {}},
                    "spec": {"terminationGracePeriodSeconds": 0,
                             "containers": [{"name": "app", "image": "example.invalid/app:1"}]},
                },
            },
        });
        let workload = Self { namespace, kind, name: name.to_owned(), object };
        match kind {
            "statefulset" => workload.spec("serviceName", json!(name)),
            "daemonset" => workload.without("replicas"),
            _ => workload,
        }
    }

    /// A label of the workload itself (not of its pods).
    pub fn label(self, key: &str, value: &str) -> Self {
        self.put("/metadata/labels", key, json!(value))
    }

    /// A label of its pods; `test/ready`, `test/crash` and `test/image` say what they do (see stages.yaml).
    pub fn pod_label(self, key: &str, value: &str) -> Self {
        self.put("/spec/template/metadata/labels", key, json!(value))
    }

    pub fn pod_annotation(self, key: &str, value: &str) -> Self {
        self.put("/spec/template/metadata/annotations", key, json!(value))
    }

    /// A field of the spec, for example `progressDeadlineSeconds`.
    pub fn spec(self, field: &str, value: Value) -> Self {
        self.put("/spec", field, value)
    }

    fn without(mut self, field: &str) -> Self {
        let spec = self.object["spec"].as_object_mut().expect("built so");
        spec.remove(field);
        self
    }

    fn put(mut self, at: &str, key: &str, value: Value) -> Self {
        let map: &mut Map<String, Value> =
            self.object.pointer_mut(at).and_then(Value::as_object_mut).expect("built so");
        map.insert(key.to_owned(), value);
        self
    }

    /// Makes it, and doesn't wait.
    pub async fn create(self) -> Value {
        self.namespace.create_object(self.kind, &self.object).await
    }

    /// Makes it and waits until all its pods are ready.
    pub async fn ready(self) -> Value {
        let (namespace, kind, name) = (self.namespace, self.kind, self.name.clone());
        self.create().await;
        match kind {
            "deployment" => namespace.until_rolled_out(&name).await,
            _ => {
                let all_ready = |object: &Value| {
                    let status = &object["status"];
                    let ready = status["readyReplicas"].as_i64().or(status["numberReady"].as_i64()).unwrap_or(0);
                    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
                    if ready == wanted { Ok(()) } else { Err(format!("{ready} of {wanted} ready")) }
                };
                namespace.until(kind, &name, Duration::from_secs(30), all_ready).await
            }
        }
    }
}
