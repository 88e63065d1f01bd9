//! `check`: settings and rules, all problems at once, with line and hint. Talks to nobody.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    app::{
        policy::{self, LoadedPolicy},
        world::Abilities,
    },
    config::{Settings, process_variables},
    model::problem::Problem,
    source::alertmanager::route::auth_of,
};
use clap::Args;

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        let (problems, loaded) = found(&self.config);
        let is_fine = problems.iter().all(|problem| problem.warning);
        if self.json {
            output.json(&problems)?;
        } else {
            output.problems(&problems);
            if let (true, Some(loaded)) = (is_fine, &loaded) {
                let rules = loaded.policy.spec.rules.len();
                let mode = loaded.policy.spec.mode.word();
                output.text(&format!("ok: {rules} rules from {}, mode {mode}\n", loaded.files.join(", ")))?;
            }
        }
        Ok(if is_fine { Exit::Fine } else { Exit::Problems })
    }
}

fn found(config: &ConfigArgs) -> (Vec<Problem>, Option<LoadedPolicy>) {
    let (settings, mut problems) = match Settings::load(config.config.as_deref(), process_variables()) {
        Ok(loaded) => loaded,
        // What rules may say depends on the settings: judged by wrong ones they would look wrong themselves.
        Err(problems) => return (problems, None),
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
