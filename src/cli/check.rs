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
    config::{RefusedSettings, Settings, process_variables, show::counted, yaml},
    model::problem::Problem,
    routing::{self, Checked},
    source::alertmanager::route::auth_of,
    telemetry::text::plain,
};
use clap::Args;
use std::path::{Path, PathBuf};

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
        let (mut problems, loaded) = found(&self.config);
        let routes = self.alertmanager.as_ref().map(|file| routes(file, loaded.as_ref()));
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

fn routes(file: &Path, loaded: Option<&LoadedPolicy>) -> Checked {
    match yaml::text_of(file) {
        Ok(text) => routing::check(&file.display().to_string(), &text, loaded.map(|loaded| &*loaded.policy)),
        Err(problems) => Checked { problems, found: Vec::new() },
    }
}

fn found(config: &ConfigArgs) -> (Vec<Problem>, Option<LoadedPolicy>) {
    let loaded = Settings::load_below(config.config.as_deref(), process_variables(), &[]);
    let (settings, mut problems) = match loaded {
        Ok(loaded) => loaded,
        Err(RefusedSettings { mut problems, rules }) => {
            // Judged by wrong settings, right rules would look wrong.
            problems.extend(rules.map(policy::problems_without_settings).unwrap_or_default());
            return (problems, None);
        }
    };
    if let Err(problem) = auth_of(&settings.alertmanager_source) {
        problems.push(Problem::error("sources.alertmanager", 0, 0, problem.to_string()));
    }
    match policy::load(&settings, &Abilities::unconnected(&settings)) {
        Ok(loaded) => {
            problems.extend(loaded.warnings.iter().cloned());
            (problems, Some(loaded))
        }
        Err(more) => {
            problems.extend(more);
            (problems, None)
        }
    }
}
