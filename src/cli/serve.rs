//! `serve`: runs the daemon. What is given here stands above file and environment.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    app,
    config::{Settings, no_color, process_variables},
    telemetry,
};
use clap::Args;

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// The most any rule may do: shadow, ask or auto
    #[arg(long)]
    mode: Option<String>,
    /// sqlite:PATH
    #[arg(long)]
    journal: Option<String>,
    /// A rules file or folder
    #[arg(long, value_name = "PATH")]
    rules: Option<String>,
    /// Where webhooks are taken
    #[arg(long, value_name = "ADDRESS")]
    webhooks: Option<String>,
    /// Where metrics, health and the API are
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl Serve {
    pub async fn run(&self, _output: &mut Output) -> Result<Exit, Told> {
        let (settings, warnings) =
            Settings::load(self.config.config.as_deref(), self.variables()).map_err(Told::problems)?;
        telemetry::log::start(settings.log.format, &settings.log.level, no_color())
            .map_err(|error| Told::new(error.to_string()))?;
        match app::serve(settings, warnings).await {
            Ok(()) => Ok(Exit::Fine),
            Err(error) => match error.downcast::<app::Refused>() {
                Ok(app::Refused(problems)) => Err(Told::problems(problems)),
                Err(error) => Err(Told::new(format!("{error:#}"))),
            },
        }
    }

    /// The environment, with what the command line says in its place.
    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let given = [
            ("NIGHTSHIFT__MODE", &self.mode),
            ("NIGHTSHIFT__JOURNAL", &self.journal),
            ("NIGHTSHIFT__RULES", &self.rules),
            ("NIGHTSHIFT__LISTEN__WEBHOOKS", &self.webhooks),
            ("NIGHTSHIFT__LISTEN__ADMIN", &self.admin),
        ];
        let given: Vec<(String, String)> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
        let names: Vec<String> = given.iter().map(|(name, _)| name.clone()).collect();
        process_variables().filter(move |(name, _)| !names.contains(name)).chain(given)
    }
}
