//! Opening the journal, and the name under which this instance leads.

use crate::{
    config::{Settings, settings::Journal},
    engine::start::damage_of,
    journal::{self, head_file::HeadCheck, sql},
};
use anyhow::Context as _;
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Opens the journal that the settings name. The second: what its side file says is wrong with it.
pub async fn journal(settings: &Settings) -> anyhow::Result<(journal::Handle, Option<String>)> {
    let options = options(settings)?;
    let opened = sql::Sql::open(&options).await.context("opening the journal")?;
    let check = opened.head_check;
    if check == HeadCheck::Missing {
        tracing::warn!("the journal's side file is missing: a tail that was cut could not be noticed this time");
    }
    Ok((Arc::new(opened.journal), damage_of(check)))
}

/// Where the journal is.
pub fn options(settings: &Settings) -> Result<sql::Options, journal::Error> {
    match &settings.journal {
        Journal::Sqlite(path) => Ok(sql::Options::sqlite(path)),
        Journal::Postgres(url) => sql::Options::parse(url.expose_secret()),
    }
}

/// One name for one instance that cannot run twice. SQLite's file lock sees to that, so a restart leads at once; with
/// PostgreSQL each process has a name of its own, and a second waits until the first's time is over.
pub fn holder(settings: &Settings) -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    match &settings.journal {
        Journal::Sqlite(_) => host.to_owned(),
        Journal::Postgres(_) => format!("{host}/{}", std::process::id()),
    }
}

/// For people: never a URL, which may hold a password.
pub fn words(settings: &Settings) -> String {
    match &settings.journal {
        Journal::Sqlite(path) => format!("SQLite {}", path.display()),
        Journal::Postgres(_) => "PostgreSQL".to_owned(),
    }
}
