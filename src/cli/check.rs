//! `check`: settings and rules, and with `--alertmanager` the routes that lead to us; all problems at once, with line and
//! hint. Talks to nobody.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    app::{
        policy::{self, LoadedPolicy},
        world::Abilities,
    },
    config::{RefusedSettings, Settings, process_variables, settings::RulesFrom, show::counted, yaml},
    decide::{Policy, policy::Rule},
    model::{mode::Mode, problem::Problem},
    routing::{self, Checked},
    source::alertmanager::route::auth_of,
    telemetry::text::plain,
};
use clap::Args;
use std::path::{Path, PathBuf};

/// Rules that a note names; the rest is left to the reader.
const RULES_NAMED: usize = 5;

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Check the routes of an alertmanager.yml too: that every alert comes here and to people, and that held pages go out
    #[arg(long, value_name = "FILE")]
    alertmanager: Option<PathBuf>,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let Found { mut problems, settings, loaded } = found(&self.config);
        let routes = self.alertmanager.as_ref().map(|file| routes(file, settings.as_ref(), loaded.as_ref()));
        problems.extend(routes.iter().flat_map(|routes| &routes.problems).cloned());
        let is_fine = problems.iter().all(|problem| problem.warning);
        if self.json {
            output.json(&problems)?;
        } else {
            output.problems(&problems);
            if let (true, Some(loaded)) = (is_fine, &loaded) {
                let rules = counted(loaded.policy.spec.rules.len(), "rule");
                let mode = loaded.policy.spec.mode.word();
                output.text(&format!("ok: {rules} from {}, mode {mode}\n", loaded.files.join(", ")))?;
                if let Some(RulesFrom::Starter(folder)) = settings.as_ref().map(|settings| &settings.rules) {
                    let folder = folder.display();
                    output
                        .text(&format!("note: there is no {folder}: the starter rules inside nightshift are used\n"))?;
                }
                if let Some(note) = lowered(&loaded.policy) {
                    output.text(&format!("note: {note}\n"))?;
                }
            }
            if let Some((file, routes)) = self.alertmanager.as_ref().zip(routes) {
                for found in routes.found {
                    output.text(&format!("{}: {}\n", file.display(), plain(&found)))?;
                }
            }
        }
        Ok(if is_fine { Exit::Fine } else { Exit::Problems })
    }
}

fn routes(file: &Path, settings: Option<&Settings>, loaded: Option<&LoadedPolicy>) -> Checked {
    match yaml::text_of(file) {
        Ok(text) => routing::check(&file.display().to_string(), &text, settings, loaded.map(|loaded| &*loaded.policy)),
        Err(problems) => Checked { problems, found: Vec::new() },
    }
}

/// `mode` stands in two places, and the lesser counts: that is no problem, and easily not seen.
fn lowered(policy: &Policy) -> Option<String> {
    let most = policy.spec.mode;
    let acting: Vec<&Rule> = policy.spec.rules.iter().filter(|rule| !rule.remediate.is_empty()).collect();
    let further: Vec<&str> = acting.iter().filter(|rule| rule.mode > most).map(|rule| rule.name.as_str()).collect();
    if !further.is_empty() {
        let named = further.get(..RULES_NAMED).unwrap_or(&further).join(", ");
        let more = if further.len() > RULES_NAMED { ", …" } else { "" };
        let (would, is) = if further.len() == 1 { ("goes", "is") } else { ("go", "are") };
        let rules = counted(further.len(), "rule");
        let most = most.word();
        return Some(format!(
            "`mode: {most}` of the settings is the most that any rule may do: {rules} that {would} further {is} {most} too ({named}{more})"
        ));
    }
    let all_shadow = !acting.is_empty() && acting.iter().all(|rule| rule.mode == Mode::Shadow);
    (most > Mode::Shadow && all_shadow).then(|| {
        format!(
            "the settings say `mode: {}`, and every rule is shadow: nothing acts until a rule says so too",
            most.word()
        )
    })
}

struct Found {
    problems: Vec<Problem>,
    /// None: they are refused.
    settings: Option<Settings>,
    loaded: Option<LoadedPolicy>,
}

fn found(config: &ConfigArgs) -> Found {
    let loaded = Settings::load_below(config.config.as_deref(), process_variables(), &[]);
    let (settings, mut problems) = match loaded {
        Ok(loaded) => loaded,
        Err(RefusedSettings { mut problems, rules }) => {
            // Judged by wrong settings, right rules would look wrong.
            problems.extend(rules.map(policy::problems_without_settings).unwrap_or_default());
            return Found { problems, settings: None, loaded: None };
        }
    };
    if let Err(problem) = auth_of(&settings.alertmanager_source) {
        problems.push(Problem::error("sources.alertmanager", 0, 0, problem.to_string()));
    }
    let loaded = match policy::load(&settings, &Abilities::unconnected(&settings)) {
        Ok(loaded) => {
            problems.extend(loaded.warnings.iter().cloned());
            Some(loaded)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    Found { problems, settings: Some(settings), loaded }
}
