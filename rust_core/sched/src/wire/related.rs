//! The fields of other objects that scheduling depends on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LabelSelector, Metadata};

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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Budget {
    pub metadata: Metadata,
    pub spec: BudgetSpec,
    pub status: BudgetStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BudgetSpec {
    pub selector: Option<LabelSelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    pub disruptions_allowed: i64,
    pub disrupted_pods: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}
