use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers each connection with `answer` once a request's head has come; an empty answer is never sent.
async fn peer(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 8192];
            let _ = stream.read(&mut head).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            stream.write_all(answer).await.unwrap();
        }
    });
    format!("http://{address}/path?token=s3cret")
}

fn client() -> Client {
    let settings = ClientSettings {
        connect_timeout: Duration::from_millis(200),
        timeout: Duration::from_millis(400),
        ..ClientSettings::default()
    };
    Client::build(&settings).unwrap()
}

async fn call(answer: &'static [u8]) -> Result<Answer, ClientError> {
    let client = client();
    let here = tokio::task::LocalSet::new();
    here.run_until(async {
        let url = peer(answer).await;
        client.exchange(client.request(Method::GET, &url), 10).await
    })
    .await
}

#[tokio::test]
async fn an_answer_within_the_cap_is_read() {
    let answer = call(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, &b"0123456789"[..]));
}

#[tokio::test]
async fn an_answer_over_the_cap_is_refused_announced_or_not() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    ] {
        let error = call(answer).await.unwrap_err();
        assert_eq!((error.kind, error.reason, error.retry), (ClientErrorKind::Body, "body_too_large", false));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer =
        call(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let error = answer.success().unwrap_err();
    assert_eq!((error.kind, error.reason), (ClientErrorKind::Status { code: 302 }, "redirect"));
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let answer = call(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(answer.retry_after(), Some(Duration::from_secs(7)));
    let error = answer.success().unwrap_err();
    assert!(error.retry && error.reason == "rate_limited" && !error.nothing_was_sent());
}

#[tokio::test]
async fn silence_after_the_request_is_a_timeout_that_may_have_been_sent() {
    let error = call(b"").await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ClientErrorKind::Timeout { sent: true }, true));
}

#[tokio::test]
async fn a_connection_that_breaks_off_leaves_the_outcome_unknown() {
    let error = call(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n01").await.unwrap_err();
    assert!(error.retry && !error.nothing_was_sent(), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_and_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client();
    let request = client.request(Method::GET, &format!("http://{address}/?token=s3cret"));
    let error = client.exchange(request, 10).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ClientErrorKind::Connect, true));
    assert!(error.nothing_was_sent());
}

#[tokio::test]
async fn no_error_carries_the_address_or_a_secret() {
    let client = client();
    let garbage = client.exchange(client.request(Method::GET, "http://[s3cret"), 10).await.unwrap_err();
    assert_eq!(garbage.kind, ClientErrorKind::Request);
    for error in [call(b"").await.unwrap_err(), call(b"garbage\r\n\r\n").await.unwrap_err(), garbage] {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret") && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn without_authorities_https_says_what_is_missing() {
    let client = Client { knows_authorities: false, ..client() };
    let error = client.exchange(client.request(Method::GET, "https://127.0.0.1:1/"), 10).await.unwrap_err();
    assert!(error.to_string().contains("install ca-certificates"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let wrong = ClientSettings { timeout: CONNECT_TIMEOUT, ..ClientSettings::default() };
    assert!(matches!(Client::build(&wrong), Err(ClientBuildError::Timeouts { .. })));
    let wrong = ClientSettings { ca_file: Some("/nonexistent.pem".into()), ..ClientSettings::default() };
    assert!(Client::build(&wrong).unwrap_err().to_string().contains("/nonexistent.pem"));
    let wrong = ClientSettings { proxy: Some("no url".into()), ..ClientSettings::default() };
    assert!(matches!(Client::build(&wrong), Err(ClientBuildError::Proxy)));
}
