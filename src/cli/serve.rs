//! `serve`: runs the daemon. What is given here stands above file and environment.

use super::{
    ConfigArgs,
    output::{Exit, Output, Told},
};
use crate::{
    app,
    config::{Flag, Settings, no_color, process_variables},
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
            Settings::load_below(self.config.config.as_deref(), process_variables(), &self.flags())
                .map_err(|refused| Told::problems(refused.problems))?;
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

    /// What the command line says in the place of settings.
    fn flags(&self) -> Vec<Flag> {
        let given: [(&'static str, &'static [&'static str], &Option<String>); 5] = [
            ("--mode", &["mode"], &self.mode),
            ("--journal", &["journal"], &self.journal),
            ("--rules", &["rules"], &self.rules),
            ("--webhooks", &["listen", "webhooks"], &self.webhooks),
            ("--admin", &["listen", "admin"], &self.admin),
        ];
        given.into_iter().filter_map(|(name, path, value)| Some(Flag { name, path, value: value.clone()? })).collect()
    }
}
