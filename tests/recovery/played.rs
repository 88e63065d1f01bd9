//! A played API server and Alertmanager in one process: fast enough for thousands of trials, and with a judge's memory.
//!
//! It knows what scaling one Deployment needs, checks the preconditions of a write as the real one does, and keeps for
//! each effective write what the journal had committed when the write arrived. It can kill the daemon at that moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::stub::{Received, Stub};
use crate::webhooks::Alert;

/// One write that changed something.
#[derive(Clone, Debug)]
pub struct Write {
    pub from: u64,
    pub to: u64,
    /// What the side file of the journal said when the write arrived.
    pub head: u64,
    pub at: Instant,
}

/// What the API server does to the daemon when its write arrives; once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strike {
    /// Killed, and the write is lost.
    BeforeIt(u32),
    /// The write is done, and killed before the answer.
    AfterIt(u32),
    /// It is done, and answered late.
    Slowly(Duration),
}

#[derive(Default)]
struct Deployment {
    replicas: u64,
    generation: u64,
    /// The journal's side file.
    head_file: PathBuf,
    writes: Vec<Write>,
    /// Those that were refused or lost too.
    attempts: usize,
    strike: Option<Strike>,
}

impl Deployment {
    /// Each write that changes it makes another.
    fn version(&self) -> String {
        format!("{}", 1_000 + self.generation)
    }
}

#[derive(Default)]
struct World {
    /// By namespace; each has one, `web`.
    deployments: BTreeMap<String, Deployment>,
    /// What Alertmanager lists as active, by fingerprint.
    firing: BTreeMap<String, Alert>,
    /// How often it was asked for them.
    asked: usize,
    struck: u64,
}

pub struct Played {
    stub: Stub,
    world: Arc<Mutex<World>>,
}

impl Played {
    pub fn start() -> Played {
        let world: Arc<Mutex<World>> = Arc::default();
        let answering = world.clone();
        let stub = Stub::start(move |asked| answering.lock().unwrap().answer(asked));
        Played { stub, world }
    }

    /// For `alertmanager.urls`.
    pub fn url(&self) -> String {
        self.stub.url()
    }

    /// A kubeconfig, as text.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "played",
            "clusters": [{"name": "played", "cluster": {"server": self.stub.url()}}],
            "users": [{"name": "played", "user": {}}],
            "contexts": [{"name": "played", "context": {"cluster": "played", "user": "played"}}],
        })
        .to_string()
    }

    pub fn deploy(&self, namespace: &str, replicas: u64, head_file: PathBuf) {
        let made = Deployment { replicas, generation: 1, head_file, ..Deployment::default() };
        self.world.lock().unwrap().deployments.insert(namespace.to_owned(), made);
    }

    pub fn strike(&self, namespace: &str, strike: Option<Strike>) {
        self.world.lock().unwrap().deployments.get_mut(namespace).expect("deployed").strike = strike;
    }

    pub fn struck(&self) -> u64 {
        self.world.lock().unwrap().struck
    }

    pub fn writes(&self, namespace: &str) -> Vec<Write> {
        self.world.lock().unwrap().deployments[namespace].writes.clone()
    }

    pub fn attempts(&self, namespace: &str) -> usize {
        self.world.lock().unwrap().deployments[namespace].attempts
    }

    pub fn replicas(&self, namespace: &str) -> u64 {
        self.world.lock().unwrap().deployments[namespace].replicas
    }

    /// Alertmanager lists it from now on.
    pub fn fires(&self, alert: &Alert) {
        self.world.lock().unwrap().firing.insert(alert.fingerprint.clone(), alert.clone());
    }

    /// How often Alertmanager was asked what fires.
    pub fn asked(&self) -> usize {
        self.world.lock().unwrap().asked
    }

    pub fn fires_no_more(&self, alert: &Alert) {
        self.world.lock().unwrap().firing.remove(&alert.fingerprint);
    }
}

impl World {
    fn answer(&mut self, asked: &Received) -> (u16, String) {
        let (path, query) = asked.uri.split_once('?').unwrap_or((&asked.uri, ""));
        let (status, body) = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "api", "v2", "alerts"] => {
                self.asked += 1;
                (200, self.alerts())
            }
            ["", "apis", "autoscaling", "v2", "namespaces", _, "horizontalpodautoscalers"]
            | ["", "api", "v1", "namespaces", _, "pods"] => (200, json!({"metadata": {}, "items": []})),
            ["", "apis", "apps", "v1", "namespaces", namespace, "deployments", "web"] => match asked.method.as_str() {
                "GET" => self.deployment(namespace),
                _ => (405, json!({"message": "not played"})),
            },
            ["", "apis", "apps", "v1", "namespaces", namespace, "deployments", "web", "scale"] => {
                self.scale(namespace, query.contains("dryRun="), &asked.json())
            }
            _ => (404, json!({"message": "not found"})),
        };
        (status, body.to_string())
    }

    fn alerts(&self) -> Value {
        let listed = self.firing.values().map(|alert| {
            json!({"fingerprint": alert.fingerprint, "startsAt": alert.starts_at, "endsAt": "2099-01-01T00:00:00Z",
                   "labels": alert.labels, "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}})
        });
        listed.collect()
    }

    fn deployment(&self, namespace: &str) -> (u16, Value) {
        let Some(web) = self.deployments.get(namespace) else { return (404, json!({"message": "not found"})) };
        let (replicas, generation) = (web.replicas, web.generation);
        let found = json!({
            "metadata": {"name": "web", "namespace": namespace, "uid": format!("uid-{namespace}"),
                         "generation": generation, "resourceVersion": web.version()},
            "spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate"}, "template": {"metadata": {}}},
            "status": {"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                       "readyReplicas": replicas, "availableReplicas": replicas},
        });
        (200, found)
    }

    fn scale(&mut self, namespace: &str, dry_run: bool, ops: &Value) -> (u16, Value) {
        let Some(web) = self.deployments.get_mut(namespace) else { return (404, json!({"message": "not found"})) };
        web.attempts += usize::from(!dry_run);
        let value = |kind: &str, path: &str| {
            let op = ops.as_array()?.iter().find(|op| op["op"] == kind && op["path"] == path)?;
            Some(op["value"].clone())
        };
        let (uid, from) = (value("test", "/metadata/uid"), value("test", "/spec/replicas"));
        let version = value("test", "/metadata/resourceVersion");
        if uid != Some(json!(format!("uid-{namespace}")))
            || from != Some(json!(web.replicas))
            || version != Some(json!(web.version()))
        {
            return (422, json!({"message": "the server rejected our request due to an error in our request"}));
        }
        let Some(to) = value("add", "/spec/replicas").and_then(|value| value.as_u64()) else {
            return (400, json!({"message": "nothing to do"}));
        };
        if dry_run {
            return (200, json!({}));
        }
        let head = std::fs::read_to_string(&web.head_file).unwrap_or_default();
        let head = head.get(..20).and_then(|seq| seq.parse().ok()).unwrap_or(0);
        let strike = web.strike.take();
        if let Some(Strike::BeforeIt(pid)) = strike {
            self.struck += 1;
            kill(pid);
            return (500, json!({}));
        }
        web.writes.push(Write { from: web.replicas, to, head, at: Instant::now() });
        (web.replicas, web.generation) = (to, web.generation + 1);
        if let Some(Strike::AfterIt(pid)) = strike {
            self.struck += 1;
            kill(pid);
        }
        if let Some(Strike::Slowly(time)) = strike {
            self.struck += 1;
            std::thread::sleep(time);
        }
        (200, json!({"spec": {"replicas": to}}))
    }
}

/// Returns when it is dead: no answer of ours reaches it.
fn kill(pid: u32) {
    let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    for _ in 0..1_000 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if state.is_empty() || state.starts_with('Z') {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{pid} does not die");
}
