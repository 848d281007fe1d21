//! The pods that fit nowhere, grouped by what may help them, so that one thing that happens is looked at once for all equal pods.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::hints::{Happening, Waiter};
use crate::kinds::PodKind;
use crate::plugins::FILTERS;
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::snapshot::{Map, Snapshot};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group {
    requirements: Arc<Requirements>,
    kind: Arc<PodKind>,
    /// The filters that refused nodes, a bit each. None: there was no node.
    filters: u32,
}

impl Group {
    fn is_helped(&self, happening: &Happening<'_>, nodes: &Snapshot, profiles: &[Profile]) -> bool {
        let waiter = Waiter {
            profile: &profiles[self.requirements.profile],
            pod: &self.requirements,
            kind: &self.kind,
            nodes,
        };
        if self.filters == 0 {
            return matches!(happening, Happening::Node { before: None, .. });
        }
        FILTERS.iter().enumerate().any(|(index, filter)| {
            self.filters & (1 << index) != 0 && (filter.helped_by)(&waiter, happening)
        })
    }
}

/// Memory: an entry for each pod that waits.
#[derive(Debug, Default)]
pub struct Waiting {
    groups: Map<Group, BTreeSet<Arc<str>>>,
    group_of: Map<Arc<str>, Group>,
    woken: BTreeSet<Arc<str>>,
}

impl Waiting {
    pub fn add(
        &mut self,
        key: &Arc<str>,
        requirements: &Arc<Requirements>,
        kind: &Arc<PodKind>,
        plugins: &[&'static str],
    ) {
        let filters = FILTERS
            .iter()
            .enumerate()
            .filter(|(_, filter)| plugins.contains(&filter.name))
            .fold(0, |bits, (index, _)| bits | 1 << index);
        let group = Group {
            requirements: requirements.clone(),
            kind: kind.clone(),
            filters,
        };
        self.remove(key);
        self.groups
            .entry(group.clone())
            .or_default()
            .insert(key.clone());
        self.group_of.insert(key.clone(), group);
    }

    /// It has its turn, or is gone.
    pub fn remove(&mut self, key: &str) {
        self.woken.remove(key);
        let Some(group) = self.group_of.remove(key) else {
            return;
        };
        if let Some(keys) = self.groups.get_mut(&group) {
            keys.remove(key);
            if keys.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Wakes the pods that it may help.
    pub fn happened(&mut self, happening: &Happening<'_>, nodes: &Snapshot, profiles: &[Profile]) {
        let (group_of, woken) = (&mut self.group_of, &mut self.woken);
        self.groups.retain(|group, keys| {
            if !group.is_helped(happening, nodes, profiles) {
                return true;
            }
            for key in keys.iter() {
                group_of.remove(key);
            }
            woken.append(keys);
            false
        });
    }

    /// The pods woken since the last call, in order.
    pub fn take_woken(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.woken).into_iter().collect()
    }
}
