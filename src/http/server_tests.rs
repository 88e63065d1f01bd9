//! The server on real sockets: slow and hostile senders, certificates, panics, an orderly stop.

use crate::http::{
    identity::Peer,
    limits::{InFlight, read_body},
    server::{Drained, Server, ServerLimits, ServerStats},
    tls::{ClientCertificates, ReloadableTls, TlsFiles},
};
use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_rustls::TlsConnector;

const MAX_BODY: usize = 1000;

/// What the handlers share with a test.
#[derive(Clone)]
struct World {
    in_flight: InFlight,
    entered: Arc<Notify>,
    release: Arc<Notify>,
}

async fn take(State(world): State<World>, headers: HeaderMap, body: Body) -> Response {
    match read_body(&headers, body, MAX_BODY, &world.in_flight).await {
        Ok(held) => format!("{} bytes", held.bytes.len()).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn wait(State(world): State<World>) -> &'static str {
    world.entered.notify_one();
    world.release.notified().await;
    "finished"
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    peer.certificate.and_then(|certificate| certificate.name().map(str::to_owned)).unwrap_or("nobody".into())
}

/// More than the sockets' buffers hold.
async fn large() -> Vec<u8> {
    vec![0; 64 * 1024 * 1024]
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

struct Running {
    address: SocketAddr,
    stats: Arc<ServerStats>,
    world: World,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
}

impl Running {
    async fn stop(mut self) -> Drained {
        drop(self.stop.take());
        self.task.await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn quick() -> ServerLimits {
    ServerLimits {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        drain: Duration::from_secs(5),
        ..ServerLimits::default()
    }
}

async fn start(limits: ServerLimits, tls: Option<Arc<ReloadableTls>>) -> Running {
    let world = World { in_flight: InFlight::new(10 * MAX_BODY), entered: Arc::default(), release: Arc::default() };
    let router = Router::new()
        .route("/take", post(take))
        .route("/wait", get(wait))
        .route("/who", get(who))
        .route("/panic", get(panics))
        .route("/large", get(large))
        .with_state(world.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::new(listener, router).with_limits(limits);
    if let Some(tls) = tls {
        server = server.with_tls(tls);
    }
    let (address, stats) = (server.local_addr().unwrap(), server.stats());
    let (stop, stopped) = oneshot::channel::<()>();
    #[expect(clippy::disallowed_methods, reason = "the test owns this task and awaits it")]
    let task = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    Running { address, stats, world, stop: Some(stop), task }
}

/// Sends a text and reads until the server closes, for at most five seconds.
async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, sent: &str) -> String {
    let _ = stream.write_all(sent.as_bytes()).await;
    read_all(stream).await
}

async fn read_all<T: AsyncRead + Unpin>(stream: &mut T) -> String {
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "the server keeps the connection open; so far: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn get_text(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST /take HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
    eventually("counted as slow", || server.stats.slow.load(Relaxed) == 1).await;
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_is_not_slow() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    let answer = exchange(&mut stream, "GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("nobody"), "{answer}");
    eventually("closed", || server.stats.open.load(Relaxed) == 0).await;
    assert_eq!(server.stats.slow.load(Relaxed), 0);
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_however_busily() {
    let server = start(quick(), None).await;
    let stream = server.connect().await;
    let (mut read, mut write) = stream.into_split();
    write.write_all(b"POST /take HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let trickle = async {
        for _ in 0..200 {
            if write.write_all(b"x").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (answer, ()) = tokio::join!(
        async {
            let mut head = [0; 12];
            read.read_exact(&mut head).await.unwrap();
            (String::from_utf8_lossy(&head).into_owned(), began.elapsed())
        },
        trickle
    );
    assert_eq!(answer.0, "HTTP/1.1 503");
    assert!(answer.1 < Duration::from_secs(2), "{:?}", answer.1);
    assert_eq!((server.stats.slow.load(Relaxed), server.world.in_flight.used()), (1, 0));
}

#[tokio::test]
async fn too_large_is_413_before_a_byte_of_the_body() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    let head = "POST /take HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n";
    let answer = exchange(&mut stream, head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "not even 100 Continue: {answer}");
}

#[tokio::test]
async fn too_large_in_chunks_is_413_as_soon_as_it_is() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    let sent = format!(
        "POST /take HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n{0}\r\n1f5\r\n{0}x\r\n",
        "x".repeat(500)
    );
    assert!(exchange(&mut stream, &sent).await.starts_with("HTTP/1.1 413"));
    assert_eq!(server.world.in_flight.used(), 0);
}

#[tokio::test]
async fn a_body_at_the_cap_is_taken() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    let body = "x".repeat(MAX_BODY);
    let head =
        format!("POST /take HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {MAX_BODY}\r\n\r\n");
    assert!(exchange(&mut stream, &(head + &body)).await.ends_with("1000 bytes"));
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let server = start(quick(), None).await;
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(40_000));
    for headers in [many, long] {
        let mut stream = server.connect().await;
        let answer = exchange(&mut stream, &format!("GET /who HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn connections_over_the_cap_are_told_503_and_places_are_given_back() {
    let server = start(ServerLimits { connections: 2, head: Duration::from_secs(60), ..quick() }, None).await;
    let (first, second) = (server.connect().await, server.connect().await);
    eventually("both open", || server.stats.open.load(Relaxed) == 2).await;
    let mut third = server.connect().await;
    let answer = exchange(&mut third, &get_text("/who")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("too many connections\n"), "{answer}");
    assert_eq!(server.stats.refused.load(Relaxed), 1);
    drop((first, second));
    eventually("places free", || server.stats.open.load(Relaxed) == 0).await;
    assert!(exchange(&mut server.connect().await, &get_text("/who")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_panic_in_a_handler_is_500_and_the_server_lives() {
    let server = start(quick(), None).await;
    let mut stream = server.connect().await;
    let answer = exchange(&mut stream, &get_text("/panic")).await;
    assert!(answer.starts_with("HTTP/1.1 500") && !answer.contains("on purpose"), "{answer}");
    assert_eq!(server.stats.panics.load(Relaxed), 1);
    assert!(exchange(&mut server.connect().await, &get_text("/who")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn whoever_stops_reading_an_answer_is_cut() {
    let server = start(ServerLimits { write_stall: Duration::from_millis(200), ..quick() }, None).await;
    let mut stream = server.connect().await;
    stream.write_all(get_text("/large").as_bytes()).await.unwrap();
    eventually("requested", || server.stats.requests.load(Relaxed) == 1).await;
    eventually("cut", || server.stats.open.load(Relaxed) == 0).await;
}

#[test]
fn want_of_descriptors_is_waited_out() {
    // The limit must hold for a process of its own: this test's own binary, asked for the test below.
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 60 && exec \"$0\" --exact http::server_tests::under_a_descriptor_limit --ignored"])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "want_of_descriptors_is_waited_out runs it under a limit"]
async fn under_a_descriptor_limit() {
    let server = start(ServerLimits { head: Duration::from_secs(60), ..quick() }, None).await;
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect(server.address).await {
        clients.push(stream);
        assert!(clients.len() < 100, "no limit is set");
        tokio::task::yield_now().await;
    }
    eventually("accepts fail", || server.stats.accept_errors.load(Relaxed) >= 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let failed = server.stats.accept_errors.load(Relaxed);
    assert!(failed < 20, "it spins: {failed} failures");
    drop(clients);
    eventually("descriptors are free", || server.stats.open.load(Relaxed) == 0).await;
    assert!(exchange(&mut server.connect().await, &get_text("/who")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_lets_the_request_under_way_finish_and_takes_no_new_one() {
    let server = start(quick(), None).await;
    let mut busy = server.connect().await;
    let idle = server.connect().await;
    busy.write_all(get_text("/wait").as_bytes()).await.unwrap();
    server.world.entered.notified().await;
    let (address, world) = (server.address, server.world.clone());
    let answer = async {
        // The listener is gone once a connection is refused.
        let mut refused = false;
        for _ in 0..500 {
            refused = TcpStream::connect(address).await.is_err();
            if refused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(refused, "the server still accepts");
        world.release.notify_one();
        read_all(&mut busy).await
    };
    let (drained, answer) = tokio::join!(server.stop(), answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    assert_eq!(drained, Drained { cut: 0 });
    drop(idle);
}

#[tokio::test]
async fn a_stop_does_not_wait_beyond_its_deadline() {
    let server = start(ServerLimits { drain: Duration::from_millis(200), ..quick() }, None).await;
    let mut busy = server.connect().await;
    busy.write_all(get_text("/wait").as_bytes()).await.unwrap();
    server.world.entered.notified().await;
    let stats = Arc::clone(&server.stats);
    let began = Instant::now();
    assert_eq!(server.stop().await, Drained { cut: 1 });
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(stats.open.load(Relaxed), 0);
}

/// A certificate authority and what it has signed, in a folder.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

fn server_files(folder: &Path, authority: &Authority, optional: bool) -> TlsFiles {
    let (cert, key) = authority.sign("localhost");
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    let ca_file = folder.join("ca.pem");
    let clients =
        if optional { ClientCertificates::Optional { ca_file } } else { ClientCertificates::Required { ca_file } };
    TlsFiles { cert_file: folder.join("cert.pem"), key_file: folder.join("key.pem"), clients }
}

/// Asks `/who` over TLS; an error is whatever ended the handshake or the connection.
async fn ask(server: &Running, trusted: &Authority, own: Option<(&Authority, &str)>) -> Result<String, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pem(&trusted.pem) {
        roots.add(certificate).unwrap();
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((authority, name)) => {
            let (cert, key) = authority.sign(name);
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![cert.der().clone()], key).unwrap()
        }
    };
    let stream = server.connect().await;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    stream.write_all(get_text("/who").as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    answer.rsplit("\r\n").next().map(str::to_owned).ok_or(answer)
}

fn rustls_pem(pem: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_client_certificate_names_its_owner() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let tls = ReloadableTls::load(server_files(folder.path(), &authority, true)).unwrap();
    let server = start(quick(), Some(Arc::new(tls))).await;
    assert_eq!(ask(&server, &authority, Some((&authority, "am-0"))).await.unwrap(), "am-0");
    assert_eq!(ask(&server, &authority, None).await.unwrap(), "nobody", "it is optional here");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_none_gets_nowhere() {
    let (folder, authority, other) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let tls = ReloadableTls::load(server_files(folder.path(), &authority, false)).unwrap();
    let server = start(quick(), Some(Arc::new(tls))).await;
    assert_eq!(ask(&server, &authority, Some((&authority, "am-0"))).await.unwrap(), "am-0");
    assert!(ask(&server, &authority, Some((&other, "am-0"))).await.is_err());
    assert!(ask(&server, &authority, None).await.is_err());
    eventually("counted", || server.stats.handshakes_failed.load(Relaxed) == 2).await;
    assert_eq!(server.stats.requests.load(Relaxed), 1);
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let tls = Arc::new(ReloadableTls::load(server_files(folder.path(), &old, true)).unwrap());
    let server = start(quick(), Some(Arc::clone(&tls))).await;
    assert!(ask(&server, &old, None).await.is_ok() && ask(&server, &new, None).await.is_err());
    server_files(folder.path(), &new, true);
    tls.reload().unwrap();
    assert!(ask(&server, &new, None).await.is_ok() && ask(&server, &old, None).await.is_err());
}

#[tokio::test]
async fn whoever_dawdles_in_the_handshake_is_cut() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let tls = ReloadableTls::load(server_files(folder.path(), &authority, true)).unwrap();
    let server = start(quick(), Some(Arc::new(tls))).await;
    let mut stream = server.connect().await;
    assert_eq!(exchange(&mut stream, "\u{16}").await, "");
    eventually("counted as slow", || server.stats.slow.load(Relaxed) == 1).await;
}
