//! The classes of pods that were decided for, and what each keeps from one decision to the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pods::Pods;
use crate::class::ClassState;
use crate::failure::{Failure, Importance};
use crate::kinds::PodKind;
use crate::labels::LabelSelector;
use crate::requirements::Requirements;
use crate::snapshot::{Map, Snapshot};

/// Pods of which one decision holds for all: they ask the same and, where that matters, are the same to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClassKey {
    pub requirements: Arc<Requirements>,
    /// None while no other pod means anything to them, nor they to any.
    pub kind: Option<Arc<PodKind>>,
    /// Whom the profile's default spread constraints count.
    pub defaults: Option<LabelSelector>,
}

#[derive(Debug, Default)]
pub struct Class {
    pub state: ClassState,
    last_used: u64,
    /// Chosen for before: worth a state of its own.
    pub recurs: bool,
    /// The last failure, and the position of the change log and the importance for which it holds.
    pub failure: Option<(u64, Importance, Arc<Failure>)>,
}

/// Nodes × classes kept up at once, about 100 MB: past it the class used longest ago starts over when its next pod comes.
const CELLS_MAX: usize = 1_000_000;
/// Classes without pods are looked for when the tables have grown to this, then to twice what was left.
const SWEEP_MIN: usize = 64;

#[derive(Debug)]
pub struct Classes {
    classes: Map<ClassKey, Class>,
    interned: Map<Arc<Requirements>, ()>,
    sweep_at: usize,
    clock: u64,
}

impl Default for Classes {
    fn default() -> Self {
        Classes {
            classes: Map::default(),
            interned: Map::default(),
            sweep_at: SWEEP_MIN,
            clock: 0,
        }
    }
}

impl Classes {
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Pods that ask the same share one set of requirements, wherever they run.
    pub fn intern(
        &mut self,
        mut requirements: Requirements,
        pods: &Pods,
        nodes: &Snapshot,
    ) -> Arc<Requirements> {
        requirements.node_name = None;
        if let Some((shared, ())) = self.interned.get_key_value(&requirements) {
            return shared.clone();
        }
        if self.interned.len() + self.classes.len() >= self.sweep_at {
            self.sweep(pods, nodes);
        }
        let shared = Arc::new(requirements);
        self.interned.insert(shared.clone(), ());
        shared
    }

    fn sweep(&mut self, pods: &Pods, nodes: &Snapshot) {
        let live: BTreeSet<*const Requirements> = pods
            .iter()
            .map(|pod| Arc::as_ptr(&pod.requirements))
            .collect();
        self.interned
            .retain(|requirements, ()| live.contains(&Arc::as_ptr(requirements)));
        self.classes.retain(|key, _| {
            let kind = key.kind.as_ref();
            live.contains(&Arc::as_ptr(&key.requirements))
                && kind.is_none_or(|kind| nodes.kinds.is_used(kind))
        });
        self.sweep_at = SWEEP_MIN.max(2 * (self.interned.len() + self.classes.len()));
    }

    /// The class of a pod that is to be decided now.
    pub fn take_turn(&mut self, key: ClassKey) -> &mut Class {
        self.clock += 1;
        let class = self.classes.entry(key).or_default();
        class.last_used = self.clock;
        class
    }

    /// Keeps to the bound on cells.
    pub fn bound(&mut self) {
        let mut cells: usize = self.classes.values().map(|class| class.state.size()).sum();
        if cells <= CELLS_MAX {
            return;
        }
        let mut by_age: Vec<&mut Class> = self.classes.values_mut().collect();
        by_age.sort_unstable_by_key(|class| class.last_used);
        by_age.pop();
        for class in by_age {
            if cells <= CELLS_MAX {
                return;
            }
            cells -= class.state.size();
            class.state = ClassState::default();
        }
    }
}
