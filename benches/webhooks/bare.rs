//! What nightshift is measured against: hyper, the same parsing into the same type, and one row per body made durable by
//! group commit into SQLite (WAL, synchronous FULL) before the 200. It decides nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nightshift::source::alertmanager::payload::{self, Webhook};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, query,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{convert::Infallible, hint::black_box, net::SocketAddr, path::Path};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// Bodies of one commit at most; nightshift's own number.
const BATCH: usize = 256;

type Waiting = (Bytes, oneshot::Sender<()>);

/// Serves until the process ends; its address.
pub async fn start(database: &Path) -> SocketAddr {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut writer = options.connect().await.unwrap();
    let table = "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT";
    query(table).execute(&mut writer).await.unwrap();
    let (bodies, waiting) = mpsc::channel(2048);
    tokio::spawn(commit_all(writer, waiting));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let bodies = bodies.clone();
            let service = service_fn(move |request| receive(request, bodies.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn receive(
    request: Request<Incoming>,
    bodies: mpsc::Sender<Waiting>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let webhook: Webhook = match payload::parse(&body) {
        Ok(webhook) => webhook,
        Err(error) => {
            let answer = Response::builder().status(StatusCode::BAD_REQUEST);
            return Ok(answer.body(Full::from(error.to_string())).unwrap());
        }
    };
    black_box(&webhook);
    let (answer, durable) = oneshot::channel();
    bodies.send((body, answer)).await.unwrap();
    durable.await.unwrap();
    Ok(Response::new(Full::from("ok\n")))
}

async fn commit_all(mut writer: SqliteConnection, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch: Vec<Waiting> = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let rows = vec!["(?)"; batch.len()].join(",");
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut insert = query(AssertSqlSafe(format!("INSERT INTO bodies (body) VALUES {rows}")));
        for (body, _) in &batch {
            insert = insert.bind(&body[..]);
        }
        insert.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        for (_, answer) in batch.drain(..) {
            let _ = answer.send(());
        }
    }
}
