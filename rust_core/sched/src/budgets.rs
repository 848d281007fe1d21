//! Pod disruption budgets: how many of the pods that they select may still be evicted.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds::PodKind;
use crate::labels::LabelSelector;

#[derive(Debug)]
pub struct Budget {
    pub selector: LabelSelector,
    pub disruptions_allowed: i64,
    /// Pods whose eviction is counted already.
    pub disrupted: BTreeSet<String>,
}

/// By namespace and name.
#[derive(Debug, Default)]
pub struct Budgets(BTreeMap<Box<str>, BTreeMap<Box<str>, Budget>>);

impl Budgets {
    /// None: it is gone.
    pub fn put(&mut self, namespace: &str, name: &str, budget: Option<Budget>) {
        let budgets = self.0.entry(namespace.into()).or_default();
        match budget {
            Some(budget) => budgets.insert(name.into(), budget),
            None => budgets.remove(name),
        };
        if budgets.is_empty() {
            self.0.remove(namespace);
        }
    }

    /// For each pod, in the order given, whether its eviction after those before it would break a budget.
    pub fn violations<'a>(&self, pods: impl Iterator<Item = (&'a str, &'a PodKind)>) -> Vec<bool> {
        let mut left: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        pods.map(|(name, kind)| {
            let budgets = self.0.get(&kind.namespace).into_iter().flatten();
            let mut violates = false;
            for (budget_name, budget) in budgets {
                let counts = !budget.selector.is_empty()
                    && !kind.labels.is_empty()
                    && budget.selector.matches(&kind.labels)
                    && !budget.disrupted.contains(name);
                if counts {
                    let left = left
                        .entry((&kind.namespace, budget_name))
                        .or_insert(budget.disruptions_allowed);
                    *left -= 1;
                    violates |= *left < 0;
                }
            }
            violates
        })
        .collect()
    }
}
