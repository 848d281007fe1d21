//! Events of objects that are neither pods nor nodes, but that decisions depend on.

use serde::de::DeserializeOwned;

use super::{EventKind, Kernel, SchedError};
use crate::budgets;
use crate::labels::{LabelSelector, Requirement, sorted};
use crate::together::{Owner, OwnerKind};
use crate::wire::related::{Budget, Controller, Labelled, Service};

/// The resources whose events the kernel wants besides pods and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Related {
    Namespaces,
    Services,
    Controllers(OwnerKind),
    Budgets,
}

/// By the resource's name.
pub const RELATED: [(&str, Related); 6] = [
    ("namespaces", Related::Namespaces),
    ("services", Related::Services),
    ("poddisruptionbudgets", Related::Budgets),
    (
        "replicationcontrollers",
        Related::Controllers(OwnerKind::ReplicationController),
    ),
    ("replicasets", Related::Controllers(OwnerKind::ReplicaSet)),
    ("statefulsets", Related::Controllers(OwnerKind::StatefulSet)),
];

fn parse<T: DeserializeOwned>(kind: &'static str, body: &[u8]) -> Result<T, SchedError> {
    serde_json::from_slice(body).map_err(|source| SchedError::Decode { kind, source })
}

impl Kernel {
    pub fn related_event(
        &mut self,
        related: Related,
        kind: EventKind,
        body: &[u8],
    ) -> Result<(), SchedError> {
        let is_there = kind == EventKind::Put;
        match related {
            Related::Namespaces => {
                let namespace: Labelled = parse("Namespace", body)?;
                let name = &namespace.metadata.name;
                if is_there {
                    let labels = sorted(namespace.metadata.labels.as_ref());
                    self.nodes.namespaces.put(name, labels);
                } else {
                    self.nodes.namespaces.remove(name);
                }
            }
            Related::Services => {
                let service: Service = parse("Service", body)?;
                let namespace = service.metadata.namespace.unwrap_or_default();
                let selector = service.spec.selector.filter(|_| is_there);
                self.together
                    .put_service(&namespace, &service.metadata.name, selector);
            }
            Related::Budgets => {
                let budget: Budget = parse("PodDisruptionBudget", body)?;
                let namespace = budget.metadata.namespace.unwrap_or_default();
                let disrupted = budget.status.disrupted_pods.unwrap_or_default();
                let known = budgets::Budget {
                    selector: LabelSelector::of(budget.spec.selector.as_ref()),
                    disruptions_allowed: budget.status.disruptions_allowed,
                    disrupted: disrupted.into_keys().collect(),
                };
                let name = &budget.metadata.name;
                self.budgets
                    .put(&namespace, name, is_there.then_some(known));
            }
            Related::Controllers(kind) => {
                let controller: Controller = parse("controller", body)?;
                let namespace = controller.metadata.namespace.unwrap_or_default();
                let owner = Owner {
                    kind,
                    name: controller.metadata.name.as_str().into(),
                };
                let selector =
                    is_there.then(|| controller_selector(kind, controller.spec.selector));
                self.together
                    .put_controller(&namespace, owner, selector.flatten());
            }
        }
        Ok(())
    }
}

/// A replication controller writes plain labels, the others a label selector. One that cannot be read selects nobody.
fn controller_selector(kind: OwnerKind, given: serde_json::Value) -> Option<LabelSelector> {
    if kind != OwnerKind::ReplicationController {
        return Some(LabelSelector::of(
            serde_json::from_value(given).ok().as_ref(),
        ));
    }
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_value(given).ok()?;
    let equal = labels.iter();
    let equal = equal.map(|(key, value)| Requirement::equals(key, value));
    Some(LabelSelector::All(equal.collect()))
}
