//! A real Kubernetes control plane as plain processes on loopback: etcd, API server, controllers, scheduler, and kwok
//! in place of the kubelets. Nothing is mocked but the containers.
//!
//! [`ControlPlane::shared`] is one for the whole test binary; tests keep apart by namespaces. A test that stops or
//! crashes a part of it takes [`ControlPlane::own`], so that its neighbours don't notice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::audit::{self, AuditEvent};
use super::certificates::Authority;
use super::namespace::{Rules, TestNamespace};
use super::supervised::{End, Supervised, free_ports, repository, words};
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

const START_TRIES: u32 = 3;
const READY_WITHIN: Duration = Duration::from_secs(90);

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

    async fn start() -> Result<Self, String> {
        // Whoever came first has set it; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let programs = programs().await?;
        let mut last = String::new();
        for _ in 0..START_TRIES {
            // A port may be taken by somebody else between our look and the start.
            match Self::try_start(&programs).await {
                Ok(plane) => return Ok(plane),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    async fn try_start(programs: &Path) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("nightshift-plane-")
            .tempdir()
            .map_err(|error| format!("no temporary folder: {error}"))?
            .keep();
        let [api_port, etcd_port, peer_port, kubelet_port] = free_ports();
        let authority = Authority::new("control plane of the tests");
        let admin_token = format!("admin-{api_port}-{}", std::process::id());
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.certificate.as_bytes()).expect("our own PEM")])
            .no_proxy()
            // Each test has a runtime of its own, and a pooled connection dies with the runtime that opened it.
            .pool_max_idle_per_host(0)
            .http1_only()
            .timeout(Duration::from_secs(20))
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let plane = Self {
            programs: programs.to_owned(),
            api_port,
            authority,
            admin_token,
            http,
            processes: Mutex::new(BTreeMap::new()),
            markers: AtomicU32::new(0),
            folder,
        };
        plane.write_files();
        plane.launch(ETCD, plane.etcd_command(etcd_port, peer_port), true);
        plane.launch(API_SERVER, plane.api_server_command(etcd_port), false);
        let client = format!("--kubeconfig={}", plane.kubeconfig_admin().display());
        let root = format!("--root-ca-file={}", plane.file("ca.crt"));
        let key = format!("--service-account-private-key-file={}", plane.file("sa.key"));
        plane.until_up("/readyz", "the API server").await?;
        plane.launch(
            CONTROLLERS,
            words([
                &plane.program(CONTROLLERS),
                &client,
                &root,
                &key,
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=300",
                "--kube-api-burst=600",
                "--horizontal-pod-autoscaler-sync-period=2s",
            ]),
            false,
        );
        plane.launch(
            SCHEDULER,
            words([
                &plane.program(SCHEDULER),
                &client,
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=300",
                "--kube-api-burst=600",
            ]),
            false,
        );
        plane.create_node().await?;
        plane.launch(KWOK, plane.kwok_command(kubelet_port), false);
        plane.until_usable().await?;
        Ok(plane)
    }

    fn write_files(&self) {
        let server = self.authority.server(&["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"]);
        let signer = rcgen::KeyPair::generate().expect("a key");
        let cri = |lines: &[&str]| -> String {
            lines.iter().map(|line| format!("2026-01-01T03:00:00.000000000Z stdout F {line}\n")).collect()
        };
        let logs = json!({
            "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"},
            "spec": {"logs": [{"logsFile": self.file("pods.log"), "previousLogsFile": self.file("previous.log")}]},
        });
        for (name, text) in [
            ("ca.crt", self.authority.certificate.clone()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("sa.key", signer.serialize_pem()),
            ("sa.pub", signer.public_key_pem()),
            ("tokens.csv", format!("{},admin,admin,\"system:masters\"\n", self.admin_token)),
            ("admin.kubeconfig", self.kubeconfig_text(self.api_port, &self.admin_token, "default")),
            ("pods.log", cri(CONTAINER_LOG)),
            ("previous.log", cri(PREVIOUS_LOG)),
            ("logs.yaml", logs.to_string()),
        ] {
            std::fs::write(self.folder.join(name), text).expect("the temporary folder can be written");
        }
    }

    fn etcd_command(&self, port: u16, peer_port: u16) -> Vec<String> {
        words([
            &self.program(ETCD),
            "--unsafe-no-fsync",
            &format!("--data-dir={}", self.file("etcd")),
            &format!("--listen-client-urls=http://127.0.0.1:{port}"),
            &format!("--advertise-client-urls=http://127.0.0.1:{port}"),
            &format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
            &format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"),
            &format!("--initial-cluster=default=http://127.0.0.1:{peer_port}"),
            "--log-level=warn",
        ])
    }

    fn api_server_command(&self, etcd_port: u16) -> Vec<String> {
        let policy = repository().join("tests/controlplane/audit-policy.yaml");
        words([
            &self.program(API_SERVER),
            &format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            &format!("--secure-port={}", self.api_port),
            &format!("--cert-dir={}", self.file("certificates")),
            &format!("--tls-cert-file={}", self.file("server.crt")),
            &format!("--tls-private-key-file={}", self.file("server.key")),
            &format!("--token-auth-file={}", self.file("tokens.csv")),
            "--anonymous-auth=false",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            &format!("--service-account-key-file={}", self.file("sa.pub")),
            &format!("--service-account-signing-key-file={}", self.file("sa.key")),
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            &format!("--audit-policy-file={}", policy.display()),
            &format!("--audit-log-path={}", self.audit_log().display()),
            "--audit-log-mode=blocking",
            "--shutdown-delay-duration=0s",
            "--profiling=false",
        ])
    }

    fn kwok_command(&self, kubelet_port: u16) -> Vec<String> {
        words([
            &self.program(KWOK),
            &format!("--kubeconfig={}", self.kubeconfig_admin().display()),
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            "--cidr=10.244.0.0/16",
            "--node-ip=127.0.0.1",
            &format!("--node-port={kubelet_port}"),
            &format!("--server-address=127.0.0.1:{kubelet_port}"),
            &format!("--tls-cert-file={}", self.file("server.crt")),
            &format!("--tls-private-key-file={}", self.file("server.key")),
            &format!("--config={}", repository().join("tests/controlplane/stages.yaml").display()),
            &format!("--config={}", self.file("logs.yaml")),
        ])
    }

    async fn create_node(&self) -> Result<(), String> {
        let size = json!({"cpu": "1k", "memory": "1Ti", "pods": "10k"});
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "annotations": {"kwok.x-k8s.io/node": "fake"},
                         "labels": {"kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux"}},
            "status": {"allocatable": size, "capacity": size},
        });
        self.post("/api/v1/nodes", &node).await.map_err(|refused| format!("no node: {refused:?}"))?;
        Ok(())
    }

    async fn until_up(&self, path: &str, what: &str) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let seen = match self.request("GET", path, "", None).await {
                Ok(_) => return Ok(()),
                Err(refused) => refused.message,
            };
            self.all_run()?;
            if Instant::now() > deadline {
                return Err(format!("{what} isn't ready after {READY_WITHIN:?}: {seen}\n{}", self.log_tails()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A node takes pods, and namespaces get their service account.
    async fn until_usable(&self) -> Result<(), String> {
        self.until_up("/api/v1/namespaces/default/serviceaccounts/default", "the default service account").await?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let node = self.get("/api/v1/nodes/node-1").await.map_err(|refused| format!("no node: {refused:?}"))?;
            let ready = node["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
            // The controllers take the taint away a moment after.
            if ready && node["spec"].get("taints").is_none() {
                return Ok(());
            }
            self.all_run()?;
            if Instant::now() > deadline {
                return Err(format!("the node isn't ready: {}\n{}", node["status"], self.log_tails()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn all_run(&self) -> Result<(), String> {
        let mut processes = self.processes.lock().unwrap();
        match processes.values_mut().find_map(|process| process.running.has_ended()) {
            Some(end) => Err(end),
            None => Ok(()),
        }
    }

    /// The end of every process' log, for a failure's message.
    pub fn log_tails(&self) -> String {
        let processes = self.processes.lock().unwrap();
        processes.iter().map(|(name, process)| format!("--- {name}\n{}\n", process.running.log_tail())).collect()
    }

    fn launch(&self, name: &'static str, command: Vec<String>, removes_folder: bool) {
        let keep = std::env::var_os("NIGHTSHIFT_TESTS_KEEP").is_some();
        if keep && removes_folder {
            eprintln!("control plane: kept in {}", self.folder.display());
        }
        let remove = (removes_folder && !keep).then(|| self.folder.clone());
        let running = Supervised::start(name, &self.folder, End::Kill, remove.as_deref(), &command);
        self.processes.lock().unwrap().insert(name, Process { running, command });
    }

    fn program(&self, name: &str) -> String {
        self.programs.join(name).display().to_string()
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    // What tests read.

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

/// The folder with the six programs, built when it isn't there (nine minutes).
async fn programs() -> Result<PathBuf, String> {
    let script = repository().join("tests/controlplane/build");
    let output = tokio::process::Command::new(&script)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .output()
        .await
        .map_err(|error| format!("can't run {}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("tests/controlplane/build failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let folder = text.lines().last().ok_or("tests/controlplane/build printed no folder")?;
    Ok(PathBuf::from(folder))
}

fn no_control_plane(reason: &str) -> String {
    format!(
        "this test needs a Kubernetes control plane, and there is none: {reason}\n\
         hint: run tests/setup once; or NIGHTSHIFT_TESTS=hermetic skips every test that needs more than this crate"
    )
}
