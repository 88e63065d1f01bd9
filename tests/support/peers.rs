//! Real Prometheus and Alertmanager on loopback, for one test each, and the metrics that a test shows to Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::background::Background;
use super::supervised::{End, Supervised, free_ports, words};

const START_TRIES: u32 = 3;
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A real Alertmanager.
pub struct Alertmanager {
    server: Server,
}

impl Alertmanager {
    /// With this configuration (YAML, as in alertmanager.yml).
    pub async fn start(config: &str) -> Self {
        let program = installed(&["prometheus-alertmanager", "alertmanager"]);
        let server = Server::start("alertmanager", "/-/ready", |folder, port, other| {
            std::fs::write(folder.join("alertmanager.yml"), config).expect("written");
            words([
                &program,
                &format!("--config.file={}", folder.join("alertmanager.yml").display()),
                &format!("--storage.path={}", folder.join("storage").display()),
                &format!("--web.listen-address=127.0.0.1:{port}"),
                &format!("--cluster.listen-address=127.0.0.1:{other}"),
                "--cluster.settle-timeout=0s",
                "--cluster.gossip-interval=50ms",
            ])
        })
        .await;
        Self { server }
    }

    /// One that belongs to the same cluster as `first`.
    pub async fn join(first: &Self, config: &str) -> Self {
        let program = installed(&["prometheus-alertmanager", "alertmanager"]);
        let peer = first.server.other_port;
        let server = Server::start("alertmanager", "/-/ready", |folder, port, other| {
            std::fs::write(folder.join("alertmanager.yml"), config).expect("written");
            words([
                &program,
                &format!("--config.file={}", folder.join("alertmanager.yml").display()),
                &format!("--storage.path={}", folder.join("storage").display()),
                &format!("--web.listen-address=127.0.0.1:{port}"),
                &format!("--cluster.listen-address=127.0.0.1:{other}"),
                &format!("--cluster.peer=127.0.0.1:{peer}"),
                "--cluster.settle-timeout=0s",
                "--cluster.gossip-interval=50ms",
            ])
        })
        .await;
        Self { server }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Posts alerts as Prometheus does (`/api/v2/alerts`): objects with labels, annotations, startsAt, endsAt.
    pub async fn post_alerts(&self, alerts: &Value) {
        let answer = self.server.post("/api/v2/alerts", alerts).await;
        answer.unwrap_or_else(|error| panic!("Alertmanager takes no alerts: {error}"));
    }

    pub async fn alerts(&self) -> Value {
        self.server.get("/api/v2/alerts").await.unwrap_or_else(|error| panic!("Alertmanager gives no alerts: {error}"))
    }

    /// Silences what these labels match exactly; gives the silence's id.
    pub async fn silence(&self, labels: &[(&str, &str)], starts_at: &str, ends_at: &str) -> String {
        let matchers: Vec<Value> = labels
            .iter()
            .map(|(name, value)| serde_json::json!({"name": name, "value": value, "isRegex": false, "isEqual": true}))
            .collect();
        let silence = serde_json::json!({
            "matchers": matchers, "startsAt": starts_at, "endsAt": ends_at, "createdBy": "test", "comment": "test",
        });
        let answer = self.server.post("/api/v2/silences", &silence).await;
        let answer = answer.unwrap_or_else(|error| panic!("Alertmanager takes no silence: {error}"));
        answer["silenceID"].as_str().expect("an id").to_owned()
    }
}

/// A real Prometheus that scrapes, evaluates and sends alerts every 200 ms.
pub struct Prometheus {
    server: Server,
}

impl Prometheus {
    /// `rules` is a rule file (YAML, as in `rule_files`).
    pub async fn start(rules: &str, targets: &[SocketAddr], alertmanagers: &[SocketAddr]) -> Self {
        let program = installed(&["prometheus"]);
        let list = |addresses: &[SocketAddr]| -> String {
            addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ")
        };
        let (targets, alertmanagers) = (list(targets), list(alertmanagers));
        let server = Server::start("prometheus", "/-/ready", |folder, port, _| {
            let config = format!(
                "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  evaluation_interval: 200ms\n\
                 rule_files: [rules.yml]\n\
                 scrape_configs:\n- job_name: test\n  static_configs:\n  - targets: [{targets}]\n\
                 alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: [{alertmanagers}]\n"
            );
            std::fs::write(folder.join("prometheus.yml"), config).expect("written");
            std::fs::write(folder.join("rules.yml"), rules).expect("written");
            words([
                &program,
                &format!("--config.file={}", folder.join("prometheus.yml").display()),
                &format!("--storage.tsdb.path={}", folder.join("storage").display()),
                &format!("--web.listen-address=127.0.0.1:{port}"),
                "--web.enable-lifecycle",
                "--rules.alert.resend-delay=1s",
                "--rules.alert.for-grace-period=0s",
            ])
        })
        .await;
        Self { server }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// An instant query's `data.result`.
    pub async fn query(&self, expression: &str) -> Result<Value, String> {
        let mut url = reqwest::Url::parse(&self.server.url()).expect("our own address");
        url.set_path("/api/v1/query");
        url.query_pairs_mut().append_pair("query", expression);
        let answer = self.server.get(&format!("{}?{}", url.path(), url.query().unwrap_or_default())).await?;
        Ok(answer["data"]["result"].clone())
    }

    /// The alerts that its rules hold now (`/api/v1/alerts`).
    pub async fn alerts(&self) -> Result<Value, String> {
        Ok(self.server.get("/api/v1/alerts").await?["data"]["alerts"].clone())
    }
}

/// A peer's process and its HTTP side.
pub struct Server {
    process: Supervised,
    port: u16,
    other_port: u16,
}

impl Server {
    async fn start(name: &'static str, ready: &str, command: impl Fn(&Path, u16, u16) -> Vec<String>) -> Self {
        let mut last = String::new();
        for _ in 0..START_TRIES {
            let folder =
                tempfile::Builder::new().prefix("nightshift-peer-").tempdir().expect("a temporary folder").keep();
            let [port, other_port] = free_ports();
            let command = command(&folder, port, other_port);
            let process = Supervised::start(name, &folder, End::Kill, Some(&folder), &command);
            let mut server = Self { process, port, other_port };
            match server.until_ready(ready).await {
                Ok(()) => return server,
                Err(reason) => last = reason,
            }
        }
        panic!("{name} doesn't start: {last}")
    }

    async fn until_ready(&mut self, path: &str) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let seen = match self.get(path).await {
                Ok(_) => return Ok(()),
                Err(seen) => seen,
            };
            if let Some(end) = self.process.has_ended() {
                return Err(end);
            }
            if Instant::now() > deadline {
                return Err(format!("not ready: {seen}\n{}", self.process.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn process(&self) -> &Supervised {
        &self.process
    }

    pub async fn get(&self, path: &str) -> Result<Value, String> {
        answer(client().get(format!("{}{path}", self.url()))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = client().post(format!("{}{path}", self.url()));
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn client() -> reqwest::Client {
    // Whoever came first has set it; it is the same one. Building a client panics without.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client")
}

/// The first of these programs that PATH has. The test fails when there is none.
pub fn installed(names: &[&str]) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found =
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file());
    match found {
        Some(file) => file.display().to_string(),
        None => panic!(
            "this test needs {}, which isn't installed\nhint: run tests/setup once; or NIGHTSHIFT_TESTS=hermetic \
             skips every test that needs more than this crate",
            names[0]
        ),
    }
}

/// Gauges that a test sets and Prometheus scrapes.
pub struct Gauges {
    address: SocketAddr,
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    _background: Background,
}

impl Gauges {
    pub fn start() -> Self {
        let values: Arc<Mutex<BTreeMap<String, f64>>> = Arc::default();
        let background = Background::start("gauges");
        let listener = background.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let served = values.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let values = served.clone();
                let serve = service_fn(move |_: Request<hyper::body::Incoming>| {
                    let text = exposition(&values.lock().unwrap());
                    let answer = Response::builder().header("content-type", "text/plain; version=0.0.4");
                    std::future::ready(answer.body(Full::new(Bytes::from(text))))
                });
                tokio::task::spawn(async move {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { address, values, _background: background }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `series` with its labels as in PromQL: `pool_in_use{service="web"}`.
    pub fn set(&self, series: &str, value: f64) {
        self.values.lock().unwrap().insert(series.to_owned(), value);
    }

    pub fn remove(&self, series: &str) {
        self.values.lock().unwrap().remove(series);
    }
}

fn exposition(values: &BTreeMap<String, f64>) -> String {
    let mut text = String::new();
    for (series, value) in values {
        let _ = writeln!(text, "{series} {value}");
    }
    text
}
