//! The peers that acting needs, as one HTTP server on loopback that answers at once: the few paths of the Kubernetes API
//! that a scale asks for, and Alertmanager's list of alerts. What it says is what a calm cluster would say.

use super::reaction::{self, STARTS_AT};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{convert::Infallible, net::SocketAddr, time::Instant};
use tokio::{net::TcpListener, sync::mpsc};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/production/deployments/";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/production/horizontalpodautoscalers";

/// The number of the deployment that a PATCH scaled, and when it came.
pub type Patched = mpsc::UnboundedSender<(u64, Instant)>;

/// Serves until its runtime ends.
pub async fn start(patched: Patched) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let patched = patched.clone();
            let service = service_fn(move |request| reply(request, patched.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn reply(request: Request<Incoming>, patched: Patched) -> Result<Response<Full<Bytes>>, Infallible> {
    let came = Instant::now();
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let answer = match path.strip_prefix(DEPLOYMENTS) {
        Some(scale) if head.method == Method::PATCH => {
            let number = reaction::number_of(scale.trim_end_matches("/scale"));
            if !head.uri.query().unwrap_or_default().contains("dryRun") {
                let _ = patched.send((number, came));
            }
            Some(json!({"kind": "Scale", "apiVersion": "autoscaling/v1"}))
        }
        Some(name) => Some(deployment(name)),
        None if path == AUTOSCALERS => Some(json!({"metadata": {}, "items": []})),
        None if path == "/api/v2/alerts" => Some(alerts(head.uri.query().unwrap_or_default())),
        None => None,
    };
    let _ = body.collect().await;
    let status = if answer.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let text = answer.unwrap_or_else(|| json!({"message": "not found"})).to_string();
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    Ok(answer.body(Full::from(text)).unwrap())
}

fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "production", "uid": format!("uid-{name}"), "generation": 3},
        "spec": {"replicas": 4, "strategy": {"type": "RollingUpdate"}, "template": {"metadata": {}}},
        "status": {"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4,
                   "availableReplicas": 4}
    })
}

/// The one alert whose name the filter holds, firing.
fn alerts(query: &str) -> Value {
    let Some((_, name)) = query.split_once(reaction::ALERT_NAME) else { return json!([]) };
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    let labels = reaction::labels(digits.parse().unwrap());
    json!([{
        "fingerprint": nightshift::source::alertmanager::payload::fingerprint(&labels),
        "startsAt": STARTS_AT, "endsAt": "2030-01-01T00:00:00.000Z", "updatedAt": STARTS_AT,
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        "labels": labels, "annotations": {}, "receivers": [{"name": "nightshift"}]
    }])
}
