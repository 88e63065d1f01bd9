//! Commands that only look: `incidents`, `incident`, `why`, `status`. The daemon makes the texts.

use super::{
    client::Daemon,
    output::{Exit, Output, Told},
};
use crate::{
    http::api::shapes,
    model::id::{Fingerprint, IncidentId},
};
use clap::{Args, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};

/// How it is said.
#[derive(Debug, Clone, Args)]
pub struct Form {
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Incidents {
    /// Which ones
    #[arg(long, value_enum, default_value_t = State::Live)]
    state: State,
    /// At most so many, up to 200
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Those before this one: the next page
    #[arg(long, value_name = "ID")]
    before: Option<IncidentId>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Open and monitoring
    Live,
    Open,
    Monitoring,
    Resolved,
    All,
}

impl State {
    fn query(self) -> &'static str {
        match self {
            State::Live => "",
            State::Open => "&state=open",
            State::Monitoring => "&state=monitoring",
            State::Resolved => "&state=resolved",
            State::All => "&state=all",
        }
    }
}

impl Incidents {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let before = self.before.map(|id| format!("&before={id}")).unwrap_or_default();
        let path = format!("/api/v1/incidents?limit={}{}{before}", self.limit, self.state.query());
        let mut page: shapes::Incidents = self.daemon.connect()?.get(&path).await?;
        let text = std::mem::take(&mut page.text);
        if self.form.json {
            output.json(&page)?;
            return Ok(Exit::Fine);
        }
        output.text(&text)?;
        if let Some(next) = page.next {
            output.text(&format!("more: nightshift incidents --before {next}\n"))?;
        }
        Ok(Exit::Fine)
    }
}

#[derive(Debug, Args)]
pub struct Incident {
    /// Its number
    id: IncidentId,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    daemon: Daemon,
}

impl Incident {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let path = format!("/api/v1/incidents/{}", self.id);
        show(&self.daemon, &self.form, &path, output, |incident: &mut shapes::Incident| &mut incident.text).await
    }
}

#[derive(Debug, Args)]
pub struct Why {
    /// An incident's number, or an alert's fingerprint (16 hexadecimal digits)
    #[arg(value_name = "ID|FINGERPRINT", value_parser = subject)]
    of: Subject,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Incident(IncidentId),
    Alert(Fingerprint),
}

/// Sixteen hexadecimal digits are a fingerprint even where all of them are decimal: no incident has such a number.
fn subject(text: &str) -> Result<Subject, String> {
    if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Subject::Alert(Fingerprint::new(&text.to_ascii_lowercase())));
    }
    text.parse().map(Subject::Incident).map_err(|_| {
        format!("`{text}` is neither an incident's number (1042) nor an alert's fingerprint (16 hexadecimal digits)")
    })
}

impl Why {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        match &self.of {
            Subject::Incident(id) => {
                let path = format!("/api/v1/incidents/{id}/why");
                show(&self.daemon, &self.form, &path, output, |incident: &mut shapes::Incident| &mut incident.text)
                    .await
            }
            Subject::Alert(print) => {
                let path = format!("/api/v1/alerts/{print}/why");
                show(&self.daemon, &self.form, &path, output, |why: &mut shapes::AlertWhy| &mut why.text).await
            }
        }
    }
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    daemon: Daemon,
}

impl Status {
    pub async fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        show(&self.daemon, &self.form, "/api/v1/status", output, |status: &mut shapes::Status| &mut status.text).await
    }
}

async fn show<T: DeserializeOwned + Serialize>(
    daemon: &Daemon,
    form: &Form,
    path: &str,
    output: &mut Output,
    text: impl Fn(&mut T) -> &mut String,
) -> Result<Exit, Told> {
    let mut answer: T = daemon.connect()?.get(path).await?;
    // Scripts do not read what is for people.
    let text = std::mem::take(text(&mut answer));
    if form.json {
        output.json(&answer)?
    } else {
        output.text(&text)?
    }
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_incident_and_sixteen_hexadecimal_digits_are_an_alert() {
        assert_eq!(subject("1042"), Ok(Subject::Incident(IncidentId(1042))));
        assert_eq!(subject("3B13522bb046f9aa"), Ok(Subject::Alert(Fingerprint::new("3b13522bb046f9aa"))));
        assert_eq!(subject("1234567890123456"), Ok(Subject::Alert(Fingerprint::new("1234567890123456"))));
        assert!(subject("web").is_err() && subject("../status").is_err());
    }
}
