//! The fields of other objects that scheduling depends on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Labelled {
    pub metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Metadata,
    pub spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    pub selector: Option<BTreeMap<String, String>>,
}

/// A replication controller, replica set or stateful set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Controller {
    pub metadata: Metadata,
    pub spec: ControllerSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ControllerSpec {
    pub selector: serde_json::Value,
}
