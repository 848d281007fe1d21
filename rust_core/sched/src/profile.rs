//! A scheduling profile: which plugins run, what they weigh, and what they are told. Upstream's default unless the caller says otherwise.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::affinity::{Preferred, Required};
use crate::kernel::SchedError;
use crate::labels::LabelSelector;
use crate::plugins::FILTERS;
use crate::resource::{ResourceId, ResourceNames};
use crate::scores::{DYNAMIC_SCORERS, NEIGHBOUR_SCORERS, STATIC_SCORERS, default_weights};
use crate::snapshot::Snapshot;
use crate::spread::{SpreadConstraint, Spreading};
use crate::wire;

/// As the caller writes them, in JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pub scheduler_name: String,
    pub disabled_filters: Vec<String>,
    /// By scorer; one that is not named does not run.
    pub weights: BTreeMap<String, i64>,
    pub hard_pod_affinity_weight: i64,
    pub ignore_preferred_terms_of_existing_pods: bool,
    pub scoring_strategy: ScoringStrategy,
    pub balanced_resources: Vec<WeightedResource>,
    pub ignored_resources: Vec<String>,
    pub ignored_resource_groups: Vec<String>,
    /// None: upstream's own.
    pub default_constraints: Option<Vec<wire::SpreadConstraint>>,
    pub added_affinity: Option<wire::NodeAffinity>,
    pub preempts: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScoringStrategy {
    pub r#type: StrategyType,
    pub resources: Vec<WeightedResource>,
    pub shape: Vec<ShapePoint>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum StrategyType {
    #[default]
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedResource {
    pub name: String,
    pub weight: i64,
}

/// Utilization 0 to 100, score 0 to 10.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapePoint {
    pub utilization: i64,
    pub score: i64,
}

impl Settings {
    pub fn read(text: &[u8]) -> Result<Settings, SchedError> {
        serde_json::from_slice(text).map_err(|source| SchedError::Decode {
            kind: "profile",
            source,
        })
    }
}

fn cpu_and_memory() -> Vec<WeightedResource> {
    let weigh = |name: &str| WeightedResource {
        name: name.to_owned(),
        weight: 1,
    };
    vec![weigh("cpu"), weigh("memory")]
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        ScoringStrategy {
            r#type: StrategyType::LeastAllocated,
            resources: cpu_and_memory(),
            shape: Vec::new(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let weights = default_weights().into_iter();
        Settings {
            scheduler_name: "default-scheduler".to_owned(),
            disabled_filters: Vec::new(),
            weights: weights
                .map(|(name, weight)| (name.to_owned(), weight))
                .collect(),
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
            scoring_strategy: ScoringStrategy::default(),
            balanced_resources: cpu_and_memory(),
            ignored_resources: Vec::new(),
            ignored_resource_groups: Vec::new(),
            default_constraints: None,
            added_affinity: None,
            preempts: true,
        }
    }
}

/// What the plugins are told, names turned into numbers.
#[derive(Debug)]
pub struct Profile {
    pub scheduler_name: String,
    pub runs_filter: [bool; FILTERS.len()],
    pub static_weights: [i64; STATIC_SCORERS.len()],
    pub dynamic_weights: [i64; DYNAMIC_SCORERS.len()],
    pub spread_weight: i64,
    pub affinity_weight: i64,
    pub hard_affinity_weight: i64,
    pub ignores_preferences_of_others: bool,
    pub strategy: StrategyType,
    pub scored: Vec<(ResourceId, i64)>,
    pub shape: Vec<ShapePoint>,
    pub balanced: Vec<ResourceId>,
    ignored_resources: Vec<String>,
    ignored_groups: Vec<String>,
    /// Without their selectors.
    pub defaults: Spreading,
    /// A node that lacks a key still counts.
    pub defaults_are_upstreams: bool,
    pub added: Required,
    pub added_preferred: Preferred,
    pub preempts: bool,
}

impl Profile {
    pub fn of(settings: &Settings, words: &mut Snapshot) -> Profile {
        let weight = |name: &str| settings.weights.get(name).copied().unwrap_or(0);
        let strategy = &settings.scoring_strategy;
        let spec = wire::PodSpec {
            topology_spread_constraints: settings.default_constraints.clone(),
            affinity: settings.added_affinity.clone().map(|added| wire::Affinity {
                node_affinity: Some(added),
                ..wire::Affinity::default()
            }),
            ..wire::PodSpec::default()
        };
        let defaults = match settings.default_constraints {
            None => Spreading::upstreams(),
            Some(_) => Spreading::of(&spec, &[], |key| words.topology_key(key)),
        };
        let mut known = |name: &String| words.resources.intern(name);
        Profile {
            scheduler_name: settings.scheduler_name.clone(),
            runs_filter: std::array::from_fn(|index| {
                let name = FILTERS[index].name;
                !settings.disabled_filters.iter().any(|each| each == name)
            }),
            static_weights: std::array::from_fn(|index| weight(STATIC_SCORERS[index].name)),
            dynamic_weights: std::array::from_fn(|index| weight(DYNAMIC_SCORERS[index].name)),
            spread_weight: weight(NEIGHBOUR_SCORERS[0].0),
            affinity_weight: weight(NEIGHBOUR_SCORERS[1].0),
            hard_affinity_weight: settings.hard_pod_affinity_weight,
            ignores_preferences_of_others: settings.ignore_preferred_terms_of_existing_pods,
            strategy: strategy.r#type,
            scored: strategy
                .resources
                .iter()
                .filter_map(|each| Some((known(&each.name)?, each.weight)))
                .collect(),
            shape: strategy.shape.clone(),
            balanced: settings
                .balanced_resources
                .iter()
                .filter_map(|each| known(&each.name))
                .collect(),
            ignored_resources: settings.ignored_resources.clone(),
            ignored_groups: settings.ignored_resource_groups.clone(),
            defaults,
            defaults_are_upstreams: settings.default_constraints.is_none(),
            added: Required::of(&spec),
            added_preferred: Preferred::of(&spec),
            preempts: settings.preempts,
        }
    }

    /// The default constraints, with whom they count.
    pub fn default_spreading(&self, selector: &LabelSelector) -> Spreading {
        let with = |list: &[SpreadConstraint]| {
            let each = list.iter().cloned();
            each.map(|constraint| SpreadConstraint {
                selector: selector.clone(),
                ..constraint
            })
            .collect()
        };
        Spreading {
            required: with(&self.defaults.required),
            preferred: with(&self.defaults.preferred),
            is_default: true,
        }
    }

    /// Extended resources that others look after.
    pub fn ignores(&self, id: ResourceId, names: &ResourceNames) -> bool {
        if self.ignored_resources.is_empty() && self.ignored_groups.is_empty() {
            return false;
        }
        let name = names.name(id);
        let group = name.split_once('/').map(|(group, _)| group);
        self.ignored_resources.iter().any(|each| each == name)
            || group.is_some_and(|group| self.ignored_groups.iter().any(|each| each == group))
    }
}
