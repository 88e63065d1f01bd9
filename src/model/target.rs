//! What an action is done to.
//!
//! Labels choose among the targets that the rules list; they never name one. A [`Target`] is a resolved choice.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of workload that actions know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::StatefulSet => "StatefulSet",
            Kind::DaemonSet => "DaemonSet",
        }
    }
}

/// The object itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    Workload {
        namespace: String,
        kind: Kind,
        name: String,
        /// For a member of a set: the label selector that must list it when it is observed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selector: Option<String>,
    },
    /// A PostgreSQL server, as the settings name it under `postgres`.
    Database { name: String },
    /// A Service whose selector sends traffic to one of two colours, each a Deployment of its own.
    BlueGreen {
        namespace: String,
        service: String,
        /// The selector's key whose value is the colour: `version`.
        selector: String,
        colors: [String; 2],
        /// The Deployments' names, with `{color}` for the colour: `web-{color}`.
        deployment: String,
    },
    /// `noop` acts on nothing.
    Nothing,
}

impl Object {
    /// Who answers a dry run on it, for people.
    #[must_use]
    pub fn server(&self) -> &'static str {
        match self {
            Object::Workload { .. } | Object::BlueGreen { .. } | Object::Nothing => "the API server",
            Object::Database { .. } => "the database",
        }
    }
}

/// A target of the rules file, resolved to one object. Two names for one object have one [`Target::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Its name in the rules file.
    pub name: String,
    pub object: Object,
}

impl Target {
    /// Names the object for locks, limits and cool-downs: `production/Deployment/web`, `postgres/claims-db`.
    #[must_use]
    pub fn key(&self) -> TargetKey {
        TargetKey(match &self.object {
            Object::Workload { namespace, kind, name, .. } => format!("{namespace}/{}/{name}", kind.word()),
            Object::Database { name } => format!("postgres/{name}"),
            Object::BlueGreen { namespace, service, .. } => format!("{namespace}/Service/{service}"),
            Object::Nothing => format!("nothing/{}", self.name),
        })
    }

    /// The keys of all that a step on it holds: its own, and for traffic between colours those of both Deployments, whose
    /// health is what the step is judged by.
    #[must_use]
    pub fn locks(&self) -> Vec<TargetKey> {
        let mut locks = vec![self.key()];
        if let Object::BlueGreen { namespace, colors, deployment, .. } = &self.object {
            let kind = Kind::Deployment.word();
            let names = colors.iter().map(|color| deployment.replace("{color}", color));
            locks.extend(names.map(|name| TargetKey(format!("{namespace}/{kind}/{name}"))));
        }
        locks
    }

    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match &self.object {
            Object::Workload { namespace, .. } | Object::BlueGreen { namespace, .. } => Some(namespace),
            Object::Database { .. } | Object::Nothing => None,
        }
    }
}

/// See [`Target::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetKey(pub String);

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
