//! `completions`: a script that completes nightshift's commands in a shell.

use super::output::{Exit, Output, Told};
use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn run(&self, command: &mut Command, output: &mut Output) -> Result<Exit, Told> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "nightshift", &mut script);
        output.text(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Fine)
    }
}
