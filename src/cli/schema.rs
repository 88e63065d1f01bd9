//! `schema`: the JSON Schema of the rules, for editors.

use super::output::{Exit, Output, Told};
use crate::rules::schema;
use clap::Args;

#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    pub fn run(&self, output: &mut Output) -> Result<Exit, Told> {
        output.json(&schema::schema())?;
        Ok(Exit::Fine)
    }
}
