//! Evidence from databases: who is connected, and how full they are.

pub mod connections;

use super::Registry;
use crate::peer::postgres::Databases;
use std::sync::Arc;

/// Every collector of databases.
pub fn register(registry: &mut Registry, databases: &Databases) {
    registry.add(Arc::new(connections::Connections::new(databases.clone())));
}
