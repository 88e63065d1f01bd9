//! The control plane and its proxies do what the other tests take for granted: rollouts succeed and fail for real,
//! rights hold, and the audit log counts writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "controlplane_starts/peers.rs"]
mod peers;
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::api_proxy::{ApiProxy, Fate, Gate, acts};
use support::control_plane::{API_SERVER, CONTAINER_LOG, PREVIOUS_LOG};
use support::namespace::condition_reason;
use support::proxy::{Mode, Proxy};
use support::{ControlPlane, TestNamespace, wait_until};

const MERGE: &str = "application/merge-patch+json";

/// A client as nightshift's would be: it trusts the control plane's authority and sends the account's token.
fn client(namespace: &TestNamespace<'_>, idle_connections: usize) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(namespace.plane().authority().certificate.as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .pool_max_idle_per_host(idle_connections)
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

fn scale_to(
    client: &reqwest::Client,
    namespace: &TestNamespace<'_>,
    through: std::net::SocketAddr,
    replicas: u32,
) -> reqwest::RequestBuilder {
    client
        .patch(format!("https://{through}{}", namespace.path("deployment", "web/scale")))
        .bearer_auth(namespace.token())
        .header("content-type", MERGE)
        .body(json!({"spec": {"replicas": replicas}}).to_string())
}

#[tokio::test]
async fn a_deployment_of_three_becomes_ready() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("becomes_ready").await;
    let deployment = namespace.deployment("web", 3).label("team", "shop").ready().await;
    assert_eq!(deployment["status"]["readyReplicas"], 3);
    assert_eq!(deployment["metadata"]["labels"]["team"], "shop");
    let said = namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=10s"]).await;
    assert!(said.contains("successfully rolled out"), "{said}");
    assert_eq!(namespace.list("pod", "app=web").await.len(), 3);
    namespace.stateful_set("db", 2).ready().await;
    namespace.daemon_set("agent").ready().await;
}

#[tokio::test]
async fn a_rollout_whose_pods_are_never_ready_fails_its_deadline_and_can_be_undone() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("rollout_fails").await;
    namespace.deployment("web", 2).spec("progressDeadlineSeconds", json!(3)).ready().await;
    let bad = json!({"spec": {"template": {"metadata": {"labels": {"test/ready": "false"}}}}});
    namespace.patch("deployment", "web", &bad).await;
    namespace
        .until("deployment", "web", Duration::from_secs(20), |deployment| {
            match condition_reason(deployment, "Progressing") {
                "ProgressDeadlineExceeded" => Ok(()),
                other => Err(format!("Progressing says {other:?}")),
            }
        })
        .await;
    let status = namespace.try_kubectl(&["rollout", "status", "deployment/web"]).await;
    assert!(!status.status.success(), "kubectl agrees that it failed");
    namespace.kubectl(&["rollout", "undo", "deployment/web"]).await;
    namespace.until_rolled_out("web").await;
}

#[tokio::test]
async fn a_ready_pod_that_is_told_so_stops_being_ready_and_comes_back() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("stops_being_ready").await;
    namespace.deployment("web", 1).ready().await;
    let pods = namespace.list("pod", "app=web").await;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    let available = |wanted: i64| {
        move |deployment: &Value| {
            let now = deployment["status"]["availableReplicas"].as_i64().unwrap_or(0);
            if now == wanted { Ok(()) } else { Err(format!("{now} available")) }
        }
    };
    namespace.patch("pod", pod, &json!({"metadata": {"labels": {"test/ready": "false"}}})).await;
    namespace.until("deployment", "web", Duration::from_secs(10), available(0)).await;
    namespace.patch("pod", pod, &json!({"metadata": {"labels": {"test/ready": null}}})).await;
    namespace.until("deployment", "web", Duration::from_secs(10), available(1)).await;
}

#[tokio::test]
async fn pods_crash_and_miss_their_image_on_demand_and_have_logs() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("crashes").await;
    namespace.deployment("crash", 1).pod_label("test/crash", "true").create().await;
    namespace.deployment("image", 1).pod_label("test/image", "missing").create().await;
    let container = async |app: &str| {
        let pods = namespace.list("pod", &format!("app={app}")).await;
        pods.first().map_or(Value::Null, |pod| pod["status"]["containerStatuses"][0].clone())
    };
    wait_until("the container has crashed twice", Duration::from_secs(20), async || {
        let status = container("crash").await;
        let twice = status["restartCount"].as_i64().unwrap_or(0) >= 2;
        let terminated = status["lastState"]["terminated"]["exitCode"] == 1;
        if twice && terminated && status["ready"] == false { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    wait_until("the image is missing", Duration::from_secs(10), async || {
        let status = container("image").await;
        let waiting = status["state"]["waiting"]["reason"] == "ImagePullBackOff";
        if waiting { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let log = namespace.kubectl(&["logs", "deployment/crash"]).await;
    assert_eq!(log.lines().collect::<Vec<_>>(), CONTAINER_LOG);
    let log = namespace.kubectl(&["logs", "deployment/crash", "--previous"]).await;
    assert_eq!(log.lines().collect::<Vec<_>>(), PREVIOUS_LOG);
}

#[tokio::test]
async fn the_audit_log_counts_one_write_for_one_patch_and_tells_dry_runs_and_refusals() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("audit_counts").await;
    namespace.deployment("web", 2).ready().await;
    assert_eq!(namespace.writes().await.len(), 0, "the account has done nothing yet");

    let path = namespace.path("deployment", "web/scale");
    let body = json!({"spec": {"replicas": 4}});
    let token = namespace.token();
    let dry = format!("{path}?dryRun=All&fieldManager=nightshift");
    plane.request_as(token, "PATCH", &dry, MERGE, Some(&body)).await.unwrap();
    plane.request_as(token, "PATCH", &path, MERGE, Some(&body)).await.unwrap();
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}});
    let refused = plane.request_as(token, "PATCH", &path, MERGE, Some(&stale)).await.unwrap_err();
    assert_eq!(refused.code, 409, "{refused:?}");

    let writes = namespace.writes().await;
    let seen: Vec<_> = writes.iter().map(|write| (write.verb.as_str(), write.code, write.dry_run)).collect();
    assert_eq!(seen, [("patch", 200, true), ("patch", 200, false), ("patch", 409, false)]);
    let acts = namespace.acts().await;
    let [act] = acts.as_slice() else { panic!("not one act: {acts:?}") };
    assert_eq!(act.request_object.as_ref().unwrap()["spec"]["replicas"], 4);
    assert_eq!((act.resource.as_str(), act.subresource.as_str(), act.name.as_str()), ("deployments", "scale", "web"));
    assert_eq!(act.user, namespace.user());
    assert_eq!(namespace.until_rolled_out("web").await["status"]["readyReplicas"], 4);
}

#[tokio::test]
async fn an_account_can_do_what_its_role_says_and_nothing_elsewhere() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let (mine, other) = (plane.namespace("rights_mine").await, plane.namespace("rights_other").await);
    mine.deployment("web", 1).ready().await;
    other.deployment("web", 1).ready().await;
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"at": "1"}}}}});
    for (method, path, body, wanted) in [
        ("GET", mine.path("deployment", "web"), None, 200),
        ("PATCH", mine.path("deployment", "web"), Some(&restart), 200),
        ("GET", mine.path("hpa", ""), None, 200),
        ("DELETE", mine.path("deployment", "web"), None, 403),
        ("GET", other.path("deployment", "web"), None, 403),
        ("PATCH", other.path("deployment", "web"), Some(&restart), 403),
    ] {
        let answer = plane.request_as(mine.token(), method, &path, MERGE, body).await;
        let code = answer.map_or_else(|refused| refused.code, |_| 200);
        assert_eq!(code, wanted, "{method} {path}");
    }
    assert_eq!(mine.acts().await.len(), 1);
    let weak = plane.namespace_with_rules(
        "rights_weak",
        json!([
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
        ]),
    );
    let weak = weak.await;
    let answer = plane.request_as(weak.token(), "GET", &weak.path("hpa", ""), "", None).await;
    assert_eq!(answer.unwrap_err().code, 403);
}

#[tokio::test]
async fn the_proxy_delivers_a_request_and_swallows_its_answer() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("swallow").await;
    namespace.deployment("web", 1).ready().await;
    let proxy = Proxy::start(namespace.plane().address());
    // Once on a new connection, once on one that has carried a request before.
    for (idle_connections, replicas) in [(0, 2), (1, 3)] {
        let client = client(&namespace, idle_connections);
        let read = client.get(format!("https://{}{}", proxy.address(), namespace.path("deployment", "web")));
        assert!(read.bearer_auth(namespace.token()).send().await.unwrap().status().is_success());

        proxy.set(Mode::SwallowAnswers(Duration::from_millis(300)));
        let lost = scale_to(&client, &namespace, proxy.address(), replicas).send().await;
        assert!(lost.is_err(), "an answer came through: {lost:?}");
        proxy.set(Mode::Pass);
        assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], replicas);
    }
    assert_eq!(proxy.swallowed(), 2);
    assert_eq!(namespace.acts().await.len(), 2, "each was delivered once");
}

#[tokio::test]
async fn the_proxy_refuses_cuts_delays_and_holds() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("proxy_modes").await;
    namespace.deployment("web", 1).create().await;
    let proxy = Proxy::start(namespace.plane().address());
    let client = client(&namespace, 1);
    let read = || {
        let url = format!("https://{}{}", proxy.address(), namespace.path("deployment", "web"));
        client.get(url).bearer_auth(namespace.token()).timeout(Duration::from_millis(1500)).send()
    };
    assert!(read().await.is_ok());
    proxy.set(Mode::Refuse);
    // The first may still find the connection that was reset; from the second on there is none.
    let _ = read().await.unwrap_err();
    assert!(read().await.unwrap_err().is_connect());
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    assert!(read().await.is_ok());
    let took = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - before;
    assert!(took >= Duration::from_millis(300), "there and back took {took:?}");
    proxy.set(Mode::BlackHole);
    assert!(read().await.unwrap_err().is_timeout());
    proxy.set(Mode::Pass);
    assert!(read().await.is_ok());
    let connections = proxy.connections();
    proxy.cut();
    wait_until("a new connection after the cut", Duration::from_secs(5), async || {
        let answered = read().await.is_ok();
        if answered && proxy.connections() > connections { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn the_api_proxy_picks_single_requests() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("api_proxy").await;
    namespace.deployment("web", 1).ready().await;
    let proxy = ApiProxy::start(plane);
    let client = client(&namespace, 1);

    proxy.lose_next_act();
    assert!(scale_to(&client, &namespace, proxy.address(), 2).send().await.is_err());
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 2, "delivered");

    proxy.next(acts, Fate::LoseRequest);
    assert!(scale_to(&client, &namespace, proxy.address(), 3).send().await.is_err());
    proxy.next(acts, Fate::Answer(429, vec![("retry-after", "1".to_owned())], "{}".to_owned()));
    assert_eq!(scale_to(&client, &namespace, proxy.address(), 3).send().await.unwrap().status(), 429);
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 2, "neither was delivered");

    let gate = Gate::default();
    proxy.next(acts, Fate::Hold(gate.clone()));
    let held = scale_to(&client, &namespace, proxy.address(), 5).send();
    let meanwhile = async {
        gate.reached().await;
        namespace.patch("deployment", "web", &json!({"spec": {"replicas": 4}})).await;
        gate.open();
    };
    let (held, ()) = tokio::join!(held, meanwhile);
    assert!(held.unwrap().status().is_success());
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 5, "the held one came last");
    let answered: Vec<_> = proxy.passed().iter().map(|passed| passed.answered).collect();
    assert_eq!(answered, [Some(200), None, None, Some(200)]);
    assert_eq!(proxy.plans_left(), 0);
    assert_eq!(namespace.acts().await.len(), 2);
}

#[tokio::test]
async fn a_control_plane_of_ones_own_can_be_paused_and_crashed() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::own().await;
    let namespace = plane.namespace("faults").await;
    namespace.deployment("web", 1).ready().await;
    let client = client(&namespace, 0);
    let read = || {
        let url = format!("{}{}", plane.url(), namespace.path("deployment", "web"));
        client.get(url).bearer_auth(namespace.token()).timeout(Duration::from_millis(700)).send()
    };
    plane.pause_apiserver();
    assert!(read().await.unwrap_err().is_timeout());
    plane.resume_apiserver();
    plane.until_ready().await;
    assert!(read().await.unwrap().status().is_success());
    let crashed = plane.crash(API_SERVER);
    assert!(read().await.unwrap_err().is_connect());
    crashed.start_again();
    plane.until_ready().await;
    assert_eq!(namespace.object("deployment", "web").await["spec"]["replicas"], 1);
}

#[tokio::test]
async fn an_autoscaler_enforces_its_lower_bound() {
    if support::hermetic() {
        return;
    }
    let namespace = ControlPlane::shared().await.namespace("autoscaler").await;
    namespace.deployment("web", 1).ready().await;
    namespace.autoscaler("web", 3, 5).await;
    namespace
        .until("deployment", "web", Duration::from_secs(20), |deployment| {
            let replicas = &deployment["spec"]["replicas"];
            if replicas == 3 { Ok(()) } else { Err(format!("{replicas} replicas")) }
        })
        .await;
}

#[tokio::test]
async fn the_kubernetes_client_of_the_crate_works_with_an_accounts_kubeconfig_and_through_the_proxies() {
    use kube::api::{Api, Patch, PatchParams};
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("kube_client").await;
    namespace.deployment("web", 1).ready().await;
    let deployments = async |kubeconfig: std::path::PathBuf| {
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        Api::<k8s_openapi::api::apps::v1::Deployment>::default_namespaced(client)
    };
    let scale = async |api: &Api<_>, replicas: u32| {
        let (params, patch) = (PatchParams::default(), Patch::Merge(json!({"spec": {"replicas": replicas}})));
        let patched = api.patch_scale("web", &params, &patch);
        tokio::time::timeout(Duration::from_secs(5), patched).await.expect("it ends by itself")
    };
    let straight = deployments(namespace.kubeconfig()).await;
    assert_eq!(straight.get("web").await.unwrap().spec.unwrap().replicas, Some(1));

    let proxy = Proxy::start(plane.address());
    let through = deployments(namespace.kubeconfig_through(proxy.address())).await;
    through.get("web").await.unwrap();
    proxy.set(Mode::SwallowAnswers(Duration::from_millis(300)));
    scale(&through, 2).await.unwrap_err();
    assert_eq!(straight.get("web").await.unwrap().spec.unwrap().replicas, Some(2));

    let picking = ApiProxy::start(plane);
    let through = deployments(namespace.kubeconfig_through(picking.address())).await;
    through.get("web").await.unwrap();
    picking.lose_next_act();
    scale(&through, 3).await.unwrap_err();
    scale(&through, 4).await.unwrap();
    let replicas: Vec<_> = namespace
        .acts()
        .await
        .iter()
        .map(|act| act.request_object.clone().unwrap()["spec"]["replicas"].clone())
        .collect();
    assert_eq!(replicas, [2, 3, 4]);
}
