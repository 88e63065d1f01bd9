//! The Kubernetes API: one client, one attempt a call, one total deadline, errors as sentences with a class.
//!
//! It never looks for a kubeconfig by itself: only a path that was configured, or the service account of a pod.
//! So that nothing acts on a cluster that nobody named. A retry is never made here: a lost answer to a write is the
//! caller's to read back.

use super::url;
use crate::model::target::Kind;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, header};
use kube::{
    Client, Config,
    client::Body,
    config::{InClusterError, KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{error::Error, path::Path, time::Duration};
use tokio::time::Instant;

/// Who owns what we write, in `managedFields`.
pub const FIELD_MANAGER: &str = "nightshift";
/// What an unconfigured cluster answers to everything.
pub const NOT_CONFIGURED: &str =
    "Kubernetes is not configured: set `kubernetes: {kubeconfig: …}` or run in a cluster with a service account";
/// Objects asked for in one list; a list that goes on is an error, because half a list can't be decided on.
pub const LIST_LIMIT: usize = 500;
/// Pages of [`LIST_LIMIT`] that are counted of a set; beyond, it counts as having so many members.
const COUNTED_PAGES: u32 = 20;
const JSON: &str = "application/json, */*";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The largest answer read: a list of [`LIST_LIMIT`] ordinary objects fits well.
const BODY_LIMIT: usize = 8 << 20;
/// A connection that is not there after this is not coming; every deadline of a step is longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An API server's message is cut to this many characters: it goes into the journal and into Slack.
const MESSAGE_LIMIT: usize = 400;

/// A cluster to ask, or the knowledge that there is none.
#[derive(Clone)]
pub struct Cluster {
    client: Option<Client>,
}

/// What went wrong, for code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    NotConfigured,
    NotFound,
    /// RBAC, or admission that answers 403.
    Forbidden,
    /// 409: the object is not what the request says it is.
    Conflict,
    /// 422 of a JSON Patch whose `test` (or path) failed.
    TestFailed,
    /// 422 of validation or admission.
    Invalid,
    /// 429: a PodDisruptionBudget, or too many requests. Nothing was done, and it may be later.
    NotNow,
    /// Any other 4xx: the server understood and did nothing.
    Refused,
    /// The server failed (5xx): a write may have happened.
    ServerFailed,
    /// No connection: certainly nothing happened.
    NotSent,
    /// Sent, and no answer: a write may have happened.
    NoAnswer,
    /// An answer that can't be read.
    Unreadable,
}

/// What went wrong, for code and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub class: Class,
    pub says: String,
}

impl Problem {
    fn new(class: Class, says: impl Into<String>) -> Problem {
        Problem { class, says: says.into() }
    }

    /// A write that ended with this has certainly changed nothing.
    #[must_use]
    pub fn is_certainly_not_done(&self) -> bool {
        match self.class {
            Class::NotConfigured
            | Class::NotFound
            | Class::Forbidden
            | Class::Conflict
            | Class::TestFailed
            | Class::Invalid
            | Class::NotNow
            | Class::Refused
            | Class::NotSent => true,
            Class::ServerFailed | Class::NoAnswer | Class::Unreadable => false,
        }
    }

    /// The precondition in the write failed: the object is another one, or was changed, or is gone.
    #[must_use]
    pub fn is_changed_since(&self) -> bool {
        matches!(self.class, Class::Conflict | Class::TestFailed | Class::NotFound)
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> String {
        problem.says
    }
}

/// The resources that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Workload(Kind),
    ReplicaSet,
    ControllerRevision,
    HorizontalPodAutoscaler,
    Pod,
    Service,
    EndpointSlice,
}

impl Resource {
    /// The path up to the namespace, the API group ("" is the core group) and the plural.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Resource::Workload(Kind::Deployment) => ("/apis/apps/v1", "apps", "deployments"),
            Resource::Workload(Kind::StatefulSet) => ("/apis/apps/v1", "apps", "statefulsets"),
            Resource::Workload(Kind::DaemonSet) => ("/apis/apps/v1", "apps", "daemonsets"),
            Resource::ReplicaSet => ("/apis/apps/v1", "apps", "replicasets"),
            Resource::ControllerRevision => ("/apis/apps/v1", "apps", "controllerrevisions"),
            Resource::HorizontalPodAutoscaler => ("/apis/autoscaling/v2", "autoscaling", "horizontalpodautoscalers"),
            Resource::Pod => ("/api/v1", "", "pods"),
            Resource::Service => ("/api/v1", "", "services"),
            Resource::EndpointSlice => ("/apis/discovery.k8s.io/v1", "discovery.k8s.io", "endpointslices"),
        }
    }
}

/// Where a call goes: `deployments/scale` of `web` in `production`.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub resource: Resource,
    pub namespace: &'a str,
    /// None: the collection.
    pub name: Option<&'a str>,
    pub subresource: Option<&'static str>,
}

impl<'a> Place<'a> {
    #[must_use]
    pub fn one(resource: Resource, namespace: &'a str, name: &'a str) -> Place<'a> {
        Place { resource, namespace, name: Some(name), subresource: None }
    }

    #[must_use]
    pub fn all(resource: Resource, namespace: &'a str) -> Place<'a> {
        Place { resource, namespace, name: None, subresource: None }
    }

    #[must_use]
    pub fn subresource(self, subresource: &'static str) -> Place<'a> {
        Place { subresource: Some(subresource), ..self }
    }

    /// The URL's path. Names may come from a label, so only what can be a Kubernetes name gets into it.
    fn path(&self) -> Result<String, Problem> {
        let (root, _, plural) = self.resource.names();
        let mut path = format!("{root}/namespaces/{}/{plural}", segment(self.namespace)?);
        if let Some(name) = self.name {
            path = format!("{path}/{}", segment(name)?);
        }
        if let Some(subresource) = self.subresource {
            path = format!("{path}/{subresource}");
        }
        Ok(path)
    }

    /// The right that a call needs, as a Role writes it.
    fn right(&self, verb: &str) -> String {
        let (_, group, plural) = self.resource.names();
        let resource = match self.subresource {
            Some(subresource) => format!("{plural}/{subresource}"),
            None => plural.to_owned(),
        };
        format!("verbs: [{verb}], apiGroups: [\"{group}\"], resources: [{resource}], in namespace {}", self.namespace)
    }
}

/// RFC 1123 subdomains: the widest rule for the names of what is asked here.
fn segment(name: &str) -> Result<&str, Problem> {
    let fits = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(name)
    } else {
        Err(Problem::new(Class::NotSent, format!("`{}` is not a Kubernetes name", cut(name, 80))))
    }
}

/// How a body is written.
enum Content {
    JsonPatch(Value),
    Object(Value),
}

/// Not in a cluster, or in a pod without a service account: no error, only nothing to ask.
fn is_outside(error: &InClusterError) -> bool {
    matches!(error, InClusterError::ReadEnvironmentVariable(_) | InClusterError::ReadDefaultNamespace(_))
}

impl Cluster {
    /// No cluster: every call answers [`NOT_CONFIGURED`].
    #[must_use]
    pub fn absent() -> Cluster {
        Cluster { client: None }
    }

    /// From a configured kubeconfig; without one, from the pod's service account; without that, [`Cluster::absent`].
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Cluster, String> {
        let Some(path) = kubeconfig else {
            return match Config::incluster() {
                Ok(config) => Cluster::from_config(config),
                Err(error) if is_outside(&error) => Ok(Cluster::absent()),
                Err(error) => Err(format!("the pod's service account: {}", sentence(&error))),
            };
        };
        let problem = |error: &dyn Error| format!("kubeconfig {}: {}", path.display(), sentence(error));
        let file = Kubeconfig::read_from(path).map_err(|error| problem(&error))?;
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(file, &options).await.map_err(|error| problem(&error))?;
        Cluster::from_config(config)
    }

    /// This runs in a pod with a service account.
    #[must_use]
    pub fn is_around() -> bool {
        !Config::incluster().is_err_and(|error| is_outside(&error))
    }

    /// One attempt a call: the library's own retries are switched off.
    pub fn from_config(mut config: Config) -> Result<Cluster, String> {
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let client = Client::try_from(config).map_err(|error| format!("Kubernetes client: {}", sentence(&error)))?;
        Ok(Cluster { client: Some(client) })
    }

    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.client.is_some()
    }

    pub async fn get<T: DeserializeOwned>(&self, place: Place<'_>, until: Instant) -> Result<T, Problem> {
        let body = self.call(Method::GET, "get", place, &[], JSON, None, BODY_LIMIT, until).await?;
        read(&body)
    }

    /// One page of at most [`LIST_LIMIT`]; more is an error.
    pub async fn list<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        selectors: &[(&str, &str)],
        until: Instant,
    ) -> Result<Vec<T>, Problem> {
        #[derive(serde::Deserialize)]
        struct Page<T> {
            #[serde(default)]
            metadata: PageMeta,
            // An empty list of an older server is `null`.
            items: Option<Vec<T>>,
        }
        #[derive(Default, serde::Deserialize)]
        struct PageMeta {
            #[serde(default, rename = "continue")]
            goes_on: String,
        }
        let limit = LIST_LIMIT.to_string();
        let mut query = selectors.to_vec();
        query.push(("limit", &limit));
        let body = self.call(Method::GET, "list", place, &query, JSON, None, BODY_LIMIT, until).await?;
        let page: Page<T> = read(&body)?;
        if !page.metadata.goes_on.is_empty() {
            let (_, _, plural) = place.resource.names();
            let says = format!("namespace {} has more than {LIST_LIMIT} {plural}", place.namespace);
            return Err(Problem::new(Class::Unreadable, says));
        }
        Ok(page.items.unwrap_or_default())
    }

    /// How many objects the selector lists, asked for as a table without the objects; at most [`COUNTED_PAGES`] pages.
    pub async fn count(&self, place: Place<'_>, selector: &str, until: Instant) -> Result<u32, Problem> {
        #[derive(serde::Deserialize)]
        struct Table {
            #[serde(default)]
            metadata: Meta,
            rows: Option<Vec<serde::de::IgnoredAny>>,
        }
        #[derive(Default, serde::Deserialize)]
        struct Meta {
            #[serde(default, rename = "continue")]
            goes_on: String,
        }
        let limit = LIST_LIMIT.to_string();
        let mut goes_on = String::new();
        let mut counted = 0_usize;
        for _ in 0..COUNTED_PAGES {
            let mut query = vec![("labelSelector", selector), ("includeObject", "None"), ("limit", &limit)];
            if !goes_on.is_empty() {
                query.push(("continue", &goes_on));
            }
            let body = self.call(Method::GET, "list", place, &query, TABLE, None, BODY_LIMIT, until).await?;
            let page: Table = read(&body)?;
            counted += page.rows.unwrap_or_default().len();
            if page.metadata.goes_on.is_empty() {
                break;
            }
            goes_on = page.metadata.goes_on;
        }
        Ok(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    /// Text of at most `limit` bytes: logs. The server is asked for no more; what is beyond is an error.
    pub async fn text(
        &self,
        place: Place<'_>,
        query: &[(&str, &str)],
        limit: usize,
        until: Instant,
    ) -> Result<Vec<u8>, Problem> {
        let bytes = limit.to_string();
        let mut query = query.to_vec();
        query.push(("limitBytes", &bytes));
        // The server may end the last line beyond the limit.
        self.call(Method::GET, "get", place, &query, JSON, None, limit.saturating_add(64 << 10), until).await
    }

    /// RFC 6902. With `dry_run` nothing is stored.
    pub async fn patch(&self, place: Place<'_>, ops: Value, dry_run: bool, until: Instant) -> Result<(), Problem> {
        self.write(Method::PATCH, "patch", place, Content::JsonPatch(ops), dry_run, until).await
    }

    /// PUT. With `dry_run` nothing is stored.
    pub async fn replace(&self, place: Place<'_>, body: Value, dry_run: bool, until: Instant) -> Result<(), Problem> {
        self.write(Method::PUT, "update", place, Content::Object(body), dry_run, until).await
    }

    /// POST, of an object or to a subresource: an eviction. With `dry_run` nothing is done.
    pub async fn create(&self, place: Place<'_>, body: Value, dry_run: bool, until: Instant) -> Result<(), Problem> {
        self.write(Method::POST, "create", place, Content::Object(body), dry_run, until).await
    }

    async fn write(
        &self,
        method: Method,
        verb: &str,
        place: Place<'_>,
        content: Content,
        dry_run: bool,
        until: Instant,
    ) -> Result<(), Problem> {
        let mut query = vec![("fieldManager", FIELD_MANAGER)];
        if dry_run {
            query.push(("dryRun", "All"));
        }
        match self.call(method, verb, place, &query, JSON, Some(content), BODY_LIMIT, until).await {
            // The status said 2xx: it is written, whatever became of the body.
            Ok(_) | Err(Problem { class: Class::Unreadable, .. }) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// One request, one answer. `Unreadable` is only given after a 2xx.
    #[expect(clippy::too_many_arguments, reason = "one private place where a request is made of its parts")]
    async fn call(
        &self,
        method: Method,
        verb: &str,
        place: Place<'_>,
        query: &[(&str, &str)],
        accept: &str,
        content: Option<Content>,
        limit: usize,
        until: Instant,
    ) -> Result<Vec<u8>, Problem> {
        let Some(client) = &self.client else { return Err(Problem::new(Class::NotConfigured, NOT_CONFIGURED)) };
        let uri = format!("{}{}", place.path()?, url::query(query));
        let (media, body) = match content {
            None => (None, Vec::new()),
            Some(Content::JsonPatch(ops)) => (Some("application/json-patch+json"), ops.to_string().into_bytes()),
            Some(Content::Object(object)) => (Some("application/json"), object.to_string().into_bytes()),
        };
        let mut request = Request::builder().method(method).uri(uri).header(header::ACCEPT, accept);
        if let Some(media) = media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| Problem::new(Class::NotSent, format!("Kubernetes request: {}", sentence(&error))))?;
        if until <= Instant::now() {
            return Err(Problem::new(Class::NotSent, "no time was left to ask the Kubernetes API"));
        }
        // The call's own deadline: what it leaves behind is classed, so a caller knows that a write may have happened.
        let late = |_| Problem::new(Class::NoAnswer, format!("the Kubernetes API did not answer in time ({verb})"));
        let answer = tokio::time::timeout_at(until, client.send(request)).await.map_err(late)?.map_err(not_answered)?;
        let status = answer.status().as_u16();
        let well = answer.status().is_success();
        let body = tokio::time::timeout_at(until, Limited::new(answer.into_body(), limit).collect()).await;
        let body = match body {
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(error)) => Err(format!("the Kubernetes API's answer broke off: {}", sentence(error.as_ref()))),
            Err(_) => Err("the Kubernetes API did not finish its answer in time".to_owned()),
        };
        if well {
            body.map_err(|says| Problem::new(Class::Unreadable, says))
        } else {
            Err(refused(status, &body.unwrap_or_default(), &place.right(verb)))
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Class::Unreadable, format!("the Kubernetes API's answer can't be read: {error}")))
}

/// No head of an answer came.
fn not_answered(error: kube::Error) -> Problem {
    let class = match &error {
        kube::Error::Auth(_) | kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Class::NotSent,
        kube::Error::Service(inner) if is_connect(inner.as_ref()) => Class::NotSent,
        _ => Class::NoAnswer,
    };
    let what = match class {
        Class::NotSent => "could not be reached",
        _ => "was asked and gave no answer",
    };
    Problem::new(class, format!("the Kubernetes API {what}: {}", sentence(&error)))
}

fn is_connect(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = error.source();
    }
    false
}

/// What an answer other than 2xx means.
fn refused(status: u16, body: &[u8], right: &str) -> Problem {
    #[derive(Default, serde::Deserialize)]
    struct Status {
        #[serde(default)]
        message: String,
    }
    let message = serde_json::from_slice::<Status>(body).unwrap_or_default().message;
    let message = if message.is_empty() { String::from_utf8_lossy(body).into_owned() } else { message };
    let message = cut(&message, MESSAGE_LIMIT);
    let (class, says) = match status {
        403 if message.contains(" cannot ") => {
            (Class::Forbidden, format!("nightshift lacks a right in Kubernetes: {right}"))
        }
        403 => (Class::Forbidden, format!("the Kubernetes API forbids it: {message}")),
        404 => (Class::NotFound, if message.is_empty() { "not found".to_owned() } else { message }),
        409 => (Class::Conflict, format!("it was changed since: {message}")),
        // The API server's fixed words for a JSON Patch that does not apply; validation and admission have their own.
        422 if message.starts_with("the server rejected our request due to an error in our request") => {
            (Class::TestFailed, "it was changed since: what the plan found is no longer there".to_owned())
        }
        422 => (Class::Invalid, format!("the Kubernetes API rejects it: {message}")),
        401 => (Class::Refused, "the Kubernetes API does not accept nightshift's credentials (401)".to_owned()),
        429 if message.contains("disruption budget") => {
            (Class::NotNow, format!("a PodDisruptionBudget does not allow it now: {message}"))
        }
        429 => (Class::NotNow, "the Kubernetes API has too many requests (429)".to_owned()),
        400..=499 => (Class::Refused, format!("the Kubernetes API answered {status}: {message}")),
        _ => (Class::ServerFailed, format!("the Kubernetes API failed with {status}: {message}")),
    };
    Problem::new(class, says)
}

/// An error with its causes: the library's own text hides them.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // Chains of libraries are a few links long; a loop in one must not hang us.
    for _ in 0..8 {
        let Some(cause) = next else { break };
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    cut(&text, MESSAGE_LIMIT)
}

/// The first `limit` characters, without control characters.
fn cut(text: &str, limit: usize) -> String {
    let mut short: String = text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_name_never_gets_into_a_path() {
        for name in ["", "a/b", "..", "../x", "a%2fb", "A", "-a", "a?b", "a b", "a#"] {
            let place = Place::one(Resource::Workload(Kind::Deployment), "production", name);
            assert!(place.path().is_err(), "{name}");
            assert!(Place::one(Resource::Pod, name, "web").path().is_err(), "{name}");
        }
        let scale = Place::one(Resource::Workload(Kind::Deployment), "production", "web").subresource("scale");
        assert_eq!(scale.path().unwrap(), "/apis/apps/v1/namespaces/production/deployments/web/scale");
    }

    #[test]
    fn an_answer_is_classed_by_what_it_means_for_a_write() {
        let status = |message: &str| serde_json::json!({ "kind": "Status", "message": message }).to_string();
        let rbac = r#"deployments.apps "web" is forbidden: User "n" cannot patch resource "deployments/scale""#;
        let test = "the server rejected our request due to an error in our request";
        for (code, message, class, done, changed) in [
            (403, rbac, Class::Forbidden, false, false),
            (403, "admission webhook denied the request", Class::Forbidden, false, false),
            (404, "deployments.apps \"web\" not found", Class::NotFound, false, true),
            (409, "the object has been modified", Class::Conflict, false, true),
            (422, test, Class::TestFailed, false, true),
            (422, "ValidatingAdmissionPolicy 'few' denied request", Class::Invalid, false, false),
            (429, "", Class::NotNow, false, false),
            (429, "Cannot evict pod as it would violate the pod's disruption budget.", Class::NotNow, false, false),
            (500, "etcdserver: request timed out", Class::ServerFailed, true, false),
            (504, "", Class::ServerFailed, true, false),
        ] {
            let problem = refused(code, status(message).as_bytes(), "verbs: [patch]");
            assert_eq!(problem.class, class, "{code} {message}");
            assert_eq!(!problem.is_certainly_not_done(), done, "{code} {message}");
            assert_eq!(problem.is_changed_since(), changed, "{code} {message}");
        }
    }

    #[test]
    fn a_missing_right_is_named_as_a_role_writes_it() {
        let place = Place::one(Resource::Workload(Kind::Deployment), "production", "web").subresource("scale");
        assert_eq!(
            place.right("patch"),
            "verbs: [patch], apiGroups: [\"apps\"], resources: [deployments/scale], in namespace production"
        );
    }

    #[tokio::test]
    async fn without_a_cluster_everything_says_so() {
        let place = Place::all(Resource::Pod, "production");
        let problem = Cluster::absent().get::<Value>(place, Instant::now()).await.unwrap_err();
        assert_eq!(problem, Problem::new(Class::NotConfigured, NOT_CONFIGURED));
    }
}
