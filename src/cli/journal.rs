//! `journal verify` and `journal export`: beside a running daemon, read only.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    config::{Settings, process_variables, settings},
    engine::replay,
    journal::{
        self, Damage, chain,
        export::{self, Report},
        sql::{Options, Sql},
    },
};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use std::{
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
pub struct Journal {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow the hash chain from its anchor to the last entry
    Verify {
        /// An export, instead of the journal of the settings
        #[arg(value_name = "EXPORT")]
        export: Option<PathBuf>,
        /// Decide every entry anew too: the same inputs must give the same events, byte for byte
        #[arg(long, conflicts_with = "export")]
        replay: bool,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Write all entries as JSON lines
    Export {
        /// Where to [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

impl Journal {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        match &self.verb {
            Verb::Verify { export: Some(path), json, .. } => verify_export(path, *json, output),
            Verb::Verify { export: None, replay, json, config } => {
                let (journal, options) = open(config).await?;
                let report = export::verify(&journal, options.head_file_path()).await;
                let again = if *replay { Some(replay::replay(&journal).await) } else { None };
                journal.close().await;
                let verified = say(&report.map_err(told)?, *json, output)?;
                match again {
                    None => Ok(verified),
                    Some(again) => say_replayed(&again.map_err(told)?, verified, *json, output),
                }
            }
            Verb::Export { output: path, config } => {
                let (journal, _) = open(config).await?;
                let done = match path {
                    Some(path) => export_to(&journal, path).await,
                    None => export::export(&journal, &mut output.out).await.map_err(|error| Told::new(chained(&error))),
                };
                journal.close().await;
                let head = done?;
                if path.is_some() {
                    output.text(&format!("exported up to entry {}\n", head.seq))?;
                }
                Ok(Exit::Fine)
            }
        }
    }
}

async fn export_to(journal: &Sql, path: &Path) -> Result<journal::Head, Told> {
    let wrong = |error: std::io::Error| Told::new(format!("writing {}: {error}", path.display()));
    // Never over an older export: it may be the only copy of what was pruned.
    let file = File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => wrong(error).hint("remove it, or name another: an export is never written over"),
        _ => wrong(error),
    })?;
    let mut out = BufWriter::new(file);
    let head = export::export(journal, &mut out).await.map_err(|error| Told::new(chained(&error)))?;
    out.flush().map_err(wrong)?;
    out.get_ref().sync_all().map_err(wrong)?;
    Ok(head)
}

fn chained(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn verify_export(path: &Path, json: bool, output: &mut Output) -> Result<Exit, Told> {
    let file = File::open(path).map_err(|error| Told::new(format!("reading {}: {error}", path.display())))?;
    let (anchor, rows) = export::read_export(BufReader::new(file)).map_err(told)?;
    let entries = rows.len() as u64;
    let (head, damage): (journal::Head, Vec<Damage>) = match chain::verify(&rows, anchor) {
        Ok(head) => (head, Vec::new()),
        Err(damage) => (anchor, vec![damage]),
    };
    let oldest = rows.first().map_or(anchor.seq.saturating_add(1), |row| row.seq);
    let report = Report { anchor, oldest, head, entries, leftovers: 0, snapshots: 0, head_file: None, damage };
    say(&report, json, output)
}

/// What deciding anew found. Fails where either look found something.
fn say_replayed(report: &replay::Report, verified: Exit, json: bool, output: &mut Output) -> Result<Exit, Told> {
    let exit = if report.difference.is_none() { verified } else { Exit::Failed };
    if json {
        output.json(report)?;
        return Ok(exit);
    }
    match &report.difference {
        None => {
            let digest = &report.state_digest;
            output.text(&format!(
                "decided anew: {} the same events\nstate: {digest}\n",
                match report.entries {
                    1 => "1 entry gives".to_owned(),
                    more => format!("{more} entries give"),
                }
            ))?;
        }
        Some(difference) => {
            output.text(&format!("entry {} is not as it is decided now: {}\n", difference.seq, difference.what))?;
        }
    }
    Ok(exit)
}

fn say(report: &Report, json: bool, output: &mut Output) -> Result<Exit, Told> {
    let exit = if report.is_whole() { Exit::Fine } else { Exit::Failed };
    if json {
        output.json(report)?;
        return Ok(exit);
    }
    if exit == Exit::Fine {
        let from = report.anchor.seq.saturating_add(1);
        let (to, hash) = (report.head.seq, report.head.hash);
        let word = if report.entries == 1 { "entry" } else { "entries" };
        output.text(&format!("whole: {} {word}, {from} to {to}\nhead: {hash}\n", report.entries))?;
        return Ok(exit);
    }
    for damage in &report.damage {
        output.text(&format!("entry {}: {}\n", damage.seq, damage.what))?;
    }
    if let Some(check) = report.head_file.filter(|check| check.is_damage()) {
        output.text(&format!("the side file: {check:?}\n"))?;
    }
    Err(Told::new("the journal is not whole").hint("keep a copy of it before anything else"))
}

fn told(error: journal::Error) -> Told {
    match error {
        journal::Error::Refused { what, hint } => Told::new(what).hint(hint),
        other => Told::new(other.to_string()),
    }
}

/// Opens the journal that the settings name, and says how.
async fn open(config: &ConfigArgs) -> Result<(Sql, Options), Told> {
    let (settings, _) = Settings::load(config.config.as_deref(), process_variables()).map_err(Told::problems)?;
    let (options, is_missing) = match &settings.journal {
        settings::Journal::Sqlite(path) => (Options::sqlite(path), !path.exists()),
        settings::Journal::Postgres(url) => (Options::parse(url.expose_secret()).map_err(told)?, false),
    };
    match Sql::open_read_only(&options).await {
        Ok(journal) => Ok((journal, options)),
        Err(journal::Error::Refused { what, .. }) if is_missing && settings.read_from.is_none() => {
            let hint = "no settings were read: name the file that says where the journal is with -c/--config";
            Err(Told::new(what).hint(hint))
        }
        Err(journal::Error::Refused { what, .. }) if is_missing => {
            let hint = "look at `journal` in the settings; without it, it lies where `serve` was started";
            Err(Told::new(what).hint(hint))
        }
        Err(error) => Err(told(error)),
    }
}
