//! A real Kubernetes control plane as plain processes on loopback: etcd, API server, controllers, scheduler, and kwok
//! in place of the kubelets. Nothing is mocked but the containers.
//!
//! [`ControlPlane::shared`] is one for the whole test binary; tests keep apart by namespaces. A test that stops or
//! crashes a part of it takes [`ControlPlane::own`], so that its neighbours don't notice.

mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::audit::{self, AuditEvent};
use super::certificates::Authority;
use super::namespace::{Rules, TestNamespace};
use super::supervised::Supervised;
use super::wait::wait_until;

/// Its processes, by these names.
pub const ETCD: &str = "etcd";
pub const API_SERVER: &str = "kube-apiserver";
pub const CONTROLLERS: &str = "kube-controller-manager";
pub const SCHEDULER: &str = "kube-scheduler";
pub const KWOK: &str = "kwok";

/// What `kubernetes/logs` finds for every container of every pod; and for the container before the last restart.
pub const CONTAINER_LOG: &[&str] = &["listening on :8080", "pool exhausted: 20 of 20 in use", "request timed out"];
pub const PREVIOUS_LOG: &[&str] = &["listening on :8080", "panic: out of connections"];

pub struct ControlPlane {
    folder: PathBuf,
    programs: PathBuf,
    api_port: u16,
    authority: Authority,
    admin_token: String,
    http: reqwest::Client,
    processes: Mutex<BTreeMap<&'static str, Process>>,
    pub(super) markers: AtomicU32,
}

struct Process {
    running: Supervised,
    command: Vec<String>,
}

/// An answer of the API server that isn't a success.
#[derive(Debug)]
pub struct Refused {
    /// 0: no answer at all.
    pub code: u16,
    pub message: String,
}

impl ControlPlane {
    /// The control plane of this test binary: started by the first who asks (about six seconds), ended with the
    /// process.
    ///
    /// The test fails when it can't be had. [`super::hermetic`] is the one way around, and the test's own to ask.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();
        match SHARED.get_or_init(Self::start).await {
            Ok(plane) => plane,
            Err(reason) => panic!("{}", no_control_plane(reason)),
        }
    }

    /// A control plane for one test, to be paused, crashed and restarted at will; ended on drop. It costs six seconds
    /// and 700 MB.
    pub async fn own() -> Self {
        Self::start().await.unwrap_or_else(|reason| panic!("{}", no_control_plane(&reason)))
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The end of every process' log, for a failure's message.
    pub fn log_tails(&self) -> String {
        let processes = self.processes.lock().unwrap();
        processes.iter().map(|(name, process)| format!("--- {name}\n{}\n", process.running.log_tail())).collect()
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// Where a proxy forwards to.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.api_port).into()
    }

    /// Signs the API server's certificate; a proxy that ends TLS takes its own from here.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A kubeconfig that may do everything.
    pub fn kubeconfig_admin(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn kubeconfig_text(&self, port: u16, token: &str, namespace: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority": self.file("ca.crt"),
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        })
        .to_string()
    }

    /// A namespace of its own for this test, with a service account `nightshift` that may do there what nightshift's
    /// documented Role allows.
    pub async fn namespace(&self, test_name: &str) -> TestNamespace<'_> {
        TestNamespace::create(self, test_name, Rules::Documented).await
    }

    /// The same with other rights: RBAC rules as in a Role's `rules`.
    pub async fn namespace_with_rules(&self, test_name: &str, rules: Value) -> TestNamespace<'_> {
        TestNamespace::create(self, test_name, Rules::These(rules)).await
    }

    fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Every write the API server has answered so far, oldest first, that `wanted` picks.
    /// [`TestNamespace::writes`] also waits for what was answered a moment ago.
    pub fn audit_writes(&self, wanted: impl Fn(&AuditEvent) -> bool) -> Vec<AuditEvent> {
        audit::read(&self.audit_log()).into_iter().filter(wanted).collect()
    }

    /// Returns once everything the API server answered before this call stands in the audit log: a line is written
    /// just after the answer, so a test that reads at once could miss the newest. Made sure by a write of our own.
    pub async fn audit_settled(&self) {
        let marker = format!("audit-marker-{}", self.markers.fetch_add(1, Ordering::Relaxed));
        let body = json!({"metadata": {"annotations": {"test/marker": marker}}});
        let path = format!("/api/v1/namespaces/default?fieldManager={marker}");
        self.patch(&path, &body).await.expect("the marker of the audit log is written");
        let query = format!("fieldManager={marker}");
        wait_until("the marker in the audit log", Duration::from_secs(5), async || {
            let found = self.audit_writes(|event| event.uri.ends_with(&query));
            if found.is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
        })
        .await;
    }

    // Requests as admin.

    pub async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.request("GET", path, "", None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        self.request("POST", path, "application/json", Some(body)).await
    }

    /// JSON merge patch.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        self.request("PATCH", path, "application/merge-patch+json", Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.request("DELETE", path, "", None).await
    }

    async fn request(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, Refused> {
        self.request_as(&self.admin_token, method, path, kind, body).await
    }

    /// One request with that token. The body is JSON of the content type `kind`; the answer is JSON or a JSON string.
    pub async fn request_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refused> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url())).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let unanswered = |error: reqwest::Error| Refused { code: 0, message: format!("{error:?}") };
        let answer = request.send().await.map_err(unanswered)?;
        let code = answer.status().as_u16();
        let text = answer.text().await.map_err(unanswered)?;
        if (200..300).contains(&code) {
            Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        } else {
            Err(Refused { code, message: text })
        }
    }

    /// kubectl as admin: the oracle for what kubectl would say.
    pub async fn kubectl(&self, arguments: &[&str], stdin: Option<&str>) -> std::process::Output {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::new(self.programs.join("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig_admin())
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("HOME", &self.folder)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("kubectl starts");
        let mut input = child.stdin.take().expect("piped");
        // kubectl may end without reading; then there is nobody to write to.
        let _ = input.write_all(stdin.unwrap_or_default().as_bytes()).await;
        drop(input);
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        output.unwrap_or_else(|_| panic!("kubectl {arguments:?} hangs")).expect("kubectl ends")
    }

    // Faults. They strike everybody who uses this control plane: take one of your own.

    /// Freezes one of its processes (SIGSTOP).
    pub fn pause(&self, name: &str) {
        self.processes.lock().unwrap()[name].running.pause();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self, name: &str) {
        self.processes.lock().unwrap()[name].running.resume();
    }

    pub fn pause_apiserver(&self) {
        self.pause(API_SERVER);
    }

    pub fn resume_apiserver(&self) {
        self.resume(API_SERVER);
    }

    /// Ends one of its processes as a crash does (SIGKILL). Its port refuses until [`Self::start_again`].
    pub fn crash(&self, name: &'static str) -> Crashed<'_> {
        assert!(name != ETCD, "the folder goes with etcd: pause it instead");
        let process = self.processes.lock().unwrap().remove(name).expect("a process of this control plane");
        process.running.crash();
        Crashed { plane: self, name, command: process.command }
    }

    /// Waits until the API server answers again.
    pub async fn until_ready(&self) {
        self.until_up("/readyz", "the API server").await.unwrap_or_else(|reason| panic!("{reason}"));
    }
}

/// A process of a control plane that was crashed.
#[must_use = "it stays down until start_again()"]
pub struct Crashed<'a> {
    plane: &'a ControlPlane,
    name: &'static str,
    command: Vec<String>,
}

impl Crashed<'_> {
    /// Starts it as it was, on the same port.
    pub fn start_again(self) {
        self.plane.launch(self.name, self.command, false);
    }
}

fn no_control_plane(reason: &str) -> String {
    format!(
        "this test needs a Kubernetes control plane, and there is none: {reason}\n\
         hint: run tests/setup once; or NIGHTSHIFT_TESTS=hermetic skips every test that needs more than this crate"
    )
}
