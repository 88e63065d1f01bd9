//! The JSON Schema of a rules file, for editors. It follows from the types of [`super::file`] and their comments.
//!
//! A schema cannot say what [`super::check`] says (does the target exist, does the pattern compile): it helps while
//! typing and does not replace `nightshift check`.

use super::file::File;
use crate::config::yaml::{Located, OneOrMany};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use std::borrow::Cow;

/// The schema as a JSON value (draft 2020-12).
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    schema.insert("title".to_owned(), "nightshift rules".into());
    schema.to_value()
}

/// A place is not part of what is written.
impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<Vec<T>>();
        schemars::json_schema!({ "anyOf": [one, many] })
    }
}
