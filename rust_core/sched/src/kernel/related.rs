//! Events of objects that are neither pods nor nodes, but that decisions depend on.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::{EventKind, Kernel, SchedError};
use crate::affinity::Required;
use crate::budgets;
use crate::hints::Happening;
use crate::labels::{LabelSelector, Requirement, sorted};
use crate::together::{Owner, OwnerKind};
use crate::volumes;
use crate::wire::related::{
    Budget, Claim, Controller, CsiNode, Labelled, PersistentVolume, Service, StorageClass,
};

/// The resources whose events the kernel wants besides pods and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Related {
    Namespaces,
    Services,
    Controllers(OwnerKind),
    Budgets,
    Claims,
    PersistentVolumes,
    StorageClasses,
    CsiNodes,
}

/// By the resource's name.
pub const RELATED: [(&str, Related); 10] = [
    ("namespaces", Related::Namespaces),
    ("services", Related::Services),
    ("poddisruptionbudgets", Related::Budgets),
    ("persistentvolumeclaims", Related::Claims),
    ("persistentvolumes", Related::PersistentVolumes),
    ("storageclasses", Related::StorageClasses),
    ("csinodes", Related::CsiNodes),
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
            Related::Claims
            | Related::PersistentVolumes
            | Related::StorageClasses
            | Related::CsiNodes => {
                self.volume_event(related, is_there, body)?;
                self.waiting
                    .happened(&Happening::Volumes, &self.nodes, &self.profiles);
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

    fn volume_event(
        &mut self,
        related: Related,
        is_there: bool,
        body: &[u8],
    ) -> Result<(), SchedError> {
        let volumes = &mut self.nodes.volumes;
        match related {
            Related::Claims => {
                let claim: Claim = parse("PersistentVolumeClaim", body)?;
                let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
                let key = format!("{namespace}/{}", claim.metadata.name);
                volumes.put_claim(&key, is_there.then(|| claim_facts(&claim)));
            }
            Related::PersistentVolumes => {
                let volume: PersistentVolume = parse("PersistentVolume", body)?;
                let name = &volume.metadata.name;
                volumes.put_volume(name, is_there.then(|| volume_facts(&volume)));
            }
            Related::StorageClasses => {
                let class: StorageClass = parse("StorageClass", body)?;
                let mode = class.volume_binding_mode.as_deref();
                let is_delayed = is_there && mode == Some("WaitForFirstConsumer");
                volumes.put_storage_class(&class.metadata.name, is_delayed);
            }
            _ => {
                let node: CsiNode = parse("CSINode", body)?;
                let drivers = node.spec.drivers.unwrap_or_default().into_iter();
                let limits = drivers
                    .filter_map(|driver| Some((driver.name, driver.allocatable?.count?)))
                    .collect();
                volumes.put_limits(&node.metadata.name, is_there.then_some(limits));
            }
        }
        Ok(())
    }
}

/// A claim is bound when it names its volume and its controller says so.
fn claim_facts(claim: &Claim) -> volumes::Claim {
    let phase = claim.status.phase.as_deref();
    let volume = claim.spec.volume_name.clone();
    let volume = volume.filter(|name| !name.is_empty());
    let modes = claim.spec.access_modes.iter().flatten();
    volumes::Claim {
        is_bound: volume.is_some() && phase == Some("Bound"),
        volume,
        is_lost: phase == Some("Lost"),
        is_leaving: claim.metadata.deletion_timestamp.is_some(),
        for_one_pod: modes.into_iter().any(|mode| mode == "ReadWriteOncePod"),
        storage_class: claim.spec.storage_class_name.clone(),
    }
}

fn volume_facts(volume: &PersistentVolume) -> volumes::Volume {
    let affinity = volume.spec.node_affinity.as_ref();
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    let labels = volume.metadata.labels.as_ref();
    let csi = volume.spec.csi.as_ref();
    volumes::Volume {
        affinity: Required::by(BTreeMap::new(), required),
        zones: labels.map(volumes::zones_of).unwrap_or_default(),
        csi: csi.map(|csi| (csi.driver.clone(), csi.volume_handle.clone())),
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
