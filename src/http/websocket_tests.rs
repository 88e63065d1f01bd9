use super::*;
use rcgen::generate_simple_self_signed;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::{future::Future, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;

const SOON: Duration = Duration::from_secs(10);
const MAX: usize = 1000;

fn dialer() -> Dialer {
    Dialer::build(&ClientSettings::default(), MAX).unwrap()
}

/// A peer that does `serve` with the first connection. It ends with the set.
async fn peer<S: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(TcpStream) -> S + Send + 'static,
) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/link/?ticket=s3cret&app_id=1", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
    });
    (url, serving)
}

#[tokio::test]
async fn texts_go_both_ways_and_signs_of_life_are_given() {
    let (url, mut peer) = peer(async |stream| {
        let mut theirs = accept_async(stream).await.unwrap();
        theirs.send(Message::text("hello")).await.unwrap();
        theirs.send(Message::Ping(bytes::Bytes::from_static(b"there?"))).await.unwrap();
        let mut heard = Vec::new();
        while let Some(Ok(message)) = theirs.next().await {
            heard.push(message.into_text().unwrap().as_str().to_owned());
            if heard.len() == 3 {
                break;
            }
        }
        heard.sort();
        assert_eq!(heard, ["nightshift", "ours", "there?"], "our ping, our text, our answer");
        theirs.send(Message::Close(None)).await.unwrap();
        // Our farewell is the last that comes.
        assert!(matches!(theirs.next().await, Some(Ok(Message::Close(_)))));
    })
    .await;
    let mut ours = dialer().dial(&url, SOON).await.unwrap();
    assert_eq!(ours.hear().await, Ok(Heard::Text("hello".into())));
    ours.say("ours".to_owned()).await.unwrap();
    ours.ping().await.unwrap();
    assert_eq!(ours.hear().await, Ok(Heard::Pong));
    assert_eq!(ours.hear().await, Err(Over::Closed));
    peer.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_opening_may_take_does_not_end_what_it_opened() {
    let (url, _peer) = peer(async |stream| {
        let mut theirs = accept_async(stream).await.unwrap();
        let asked = theirs.next().await.unwrap().unwrap();
        theirs.send(asked).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let within = Duration::from_secs(1);
    let mut ours = dialer().dial(&url, within).await.unwrap();
    tokio::time::sleep(within + Duration::from_millis(300)).await;
    ours.say("still there?".to_owned()).await.unwrap();
    assert_eq!(ours.hear().await, Ok(Heard::Text("still there?".into())));
}

#[tokio::test]
async fn a_message_beyond_the_bound_ends_it_whole_or_in_pieces() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let whole = vec![Message::text("x".repeat(MAX + 1))];
    let piece = |code, last| Message::Frame(Frame::message("x".repeat(MAX / 2), OpCode::Data(code), last));
    let pieces = vec![piece(Data::Text, false), piece(Data::Continue, false), piece(Data::Continue, true)];
    for messages in [whole, pieces] {
        let (url, mut peer) = peer(async move |stream| {
            let mut theirs = accept_async(stream).await.unwrap();
            theirs.send(Message::text("y".repeat(MAX))).await.unwrap();
            for message in messages {
                theirs.send(message).await.unwrap();
            }
            let farewell = theirs.next().await;
            assert!(
                matches!(&farewell, Some(Ok(Message::Close(Some(it)))) if it.code == CloseCode::Size),
                "{farewell:?}"
            );
        })
        .await;
        let mut ours = dialer().dial(&url, SOON).await.unwrap();
        assert!(matches!(ours.hear().await, Ok(Heard::Text(text)) if text.len() == MAX));
        assert_eq!(ours.hear().await, Err(Over::TooLarge));
        ours.close(true).await;
        peer.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_answers_otherwise_is_no_web_socket() {
    let not_ours =
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: bm90IG91cnM=\r\n\r\n";
    for (answer, problem) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", NotDialled::Status(StatusCode::OK)),
        (
            "HTTP/1.1 302 X\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            NotDialled::Status(StatusCode::FOUND),
        ),
        ("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", NotDialled::Status(StatusCode::NOT_FOUND)),
        (not_ours, NotDialled::Handshake),
    ] {
        let (url, _peer) = peer(async move |mut stream| {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
            assert!(head.starts_with("get /link/?ticket=s3cret&app_id=1 http/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nsec-websocket-version: 13\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let refused = dialer().dial(&url, SOON).await.unwrap_err();
        assert_eq!(refused, problem);
        assert!(!refused.to_string().contains("s3cret") && !format!("{refused:?}").contains("s3cret"));
    }
    // Somebody takes the connection and says nothing.
    let (url, _peer) = peer(async |stream| {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let late = dialer().dial(&url, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.reason(), "timeout");
}

#[test]
fn in_the_clear_only_to_this_machine() {
    for (url, is) in [
        ("wss://wss.slack.com/link/?ticket=12-34&app_id=5", Some("https://wss.slack.com/link/?ticket=12-34&app_id=5")),
        ("ws://127.0.0.1:1/a", Some("http://127.0.0.1:1/a")),
        ("ws://[::1]:1/a", Some("http://[::1]:1/a")),
        ("ws://localhost:1/a", Some("http://localhost:1/a")),
        ("ws://wss.slack.com/link", None),
        ("ws://localhost.evil.example/", None),
        ("ws://127.0.0.1.evil.example/", None),
        ("https://wss.slack.com/link", None),
        ("http://127.0.0.1:1/a", None),
        ("file:///etc/passwd", None),
        ("wss:", None),
        ("", None),
    ] {
        assert_eq!(http_url(url).as_ref().map(Url::as_str), is, "{url}");
    }
}

#[tokio::test]
async fn a_certificate_is_looked_at_and_http_2_is_not_offered() {
    crate::http::client::install_crypto();
    let own = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    for (settings, is_right) in [
        (ClientSettings { ca_file: Some(ca_file.clone()), ..ClientSettings::default() }, true),
        (ClientSettings::default(), false),
    ] {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        let (url, _peer) = peer(async move |stream| {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            assert_ne!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut theirs = accept_async(stream).await.unwrap();
            theirs.send(Message::text("hello")).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let url = url.replace("ws://127.0.0.1", "wss://localhost");
        let dialled = Dialer::build(&settings, MAX).unwrap().dial(&url, SOON).await;
        match dialled {
            Ok(mut socket) => {
                assert!(is_right);
                assert_eq!(socket.hear().await, Ok(Heard::Text("hello".into())));
            }
            Err(refused) => {
                assert!(!is_right, "{refused}");
                assert!(["tls", "no_certificate_authorities"].contains(&refused.reason()), "{refused:?}");
            }
        }
    }
}
