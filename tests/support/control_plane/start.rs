//! From nothing to a control plane that runs pods: certificates, files, processes in order, and waiting for each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::certificates::Authority;
use super::super::supervised::{End, Supervised, free_ports, repository, words};
use super::{API_SERVER, CONTAINER_LOG, CONTROLLERS, ControlPlane, ETCD, KWOK, PREVIOUS_LOG, Process, SCHEDULER};

const START_TRIES: u32 = 3;
const READY_WITHIN: Duration = Duration::from_secs(90);

impl ControlPlane {
    pub(super) async fn start() -> Result<Self, String> {
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

    pub(super) async fn until_up(&self, path: &str, what: &str) -> Result<(), String> {
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

    pub(super) fn launch(&self, name: &'static str, command: Vec<String>, removes_folder: bool) {
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
