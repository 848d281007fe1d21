//! Claims, the volumes they are bound to, and what that asks of a node: VolumeBinding, VolumeZone, VolumeRestrictions, NodeVolumeLimits.
//!
//! A claim that is bound ties its pods to where its volume can be. One that waits for its first consumer is not decided here yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::affinity::Required;
use crate::labels::{Labels, lookup};
use crate::snapshot::Map;

pub const RESTRICTIONS: &str = "VolumeRestrictions";
pub const BINDING: &str = "VolumeBinding";

/// A claim that a pod names, by `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimUse {
    pub key: Box<str>,
    /// Made for this pod alone, by the ephemeral volume controller.
    pub is_ephemeral: bool,
    /// The path in the pod.
    pub field: String,
}

impl ClaimUse {
    fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    pub volume: Option<String>,
    pub is_bound: bool,
    pub is_lost: bool,
    pub is_leaving: bool,
    /// ReadWriteOncePod.
    pub for_one_pod: bool,
    pub storage_class: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Where it can be reached from.
    pub affinity: Required,
    /// Zones and regions it is in.
    pub zones: Vec<(String, BTreeSet<String>)>,
    /// Driver and handle.
    pub csi: Option<(String, String)>,
}

/// What a pod's claims ask, now.
#[derive(Debug, Default)]
pub struct Needs {
    /// Refused whatever the node: the plugin, and why.
    pub refusal: Option<(&'static str, String)>,
    /// Fields of claims that nothing here decides.
    pub undecided: Vec<String>,
    /// Volumes, by name; one may be missing.
    volumes: Vec<String>,
    /// Claims that one pod may use at a time.
    for_one_pod: Vec<Box<str>>,
}

#[derive(Debug, Default)]
pub struct Volumes {
    claims: Map<Box<str>, Claim>,
    volumes: Map<Box<str>, Volume>,
    /// Storage classes that bind only when a pod comes.
    delayed: BTreeSet<Box<str>>,
    /// How many volumes of a driver a node takes.
    limits: Map<Box<str>, BTreeMap<String, i64>>,
    /// How many pods on nodes use a claim.
    in_use: Map<Box<str>, i64>,
    pub generation: u64,
}

const ZONE_LABELS: [(&str, &str); 4] = [
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    (
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
];

/// The zones that a volume's labels say it is in; `__` separates several.
pub fn zones_of(labels: &BTreeMap<String, String>) -> Vec<(String, BTreeSet<String>)> {
    let known = ZONE_LABELS.iter();
    let found = known.filter_map(|(label, _)| {
        let value = labels.get(*label)?;
        let zones = value.split("__").map(str::to_owned).collect();
        Some(((*label).to_owned(), zones))
    });
    found.collect()
}

impl Volumes {
    pub fn put_claim(&mut self, key: &str, claim: Option<Claim>) {
        put(&mut self.claims, key, claim);
        self.generation += 1;
    }

    pub fn put_volume(&mut self, name: &str, volume: Option<Volume>) {
        put(&mut self.volumes, name, volume);
        self.generation += 1;
    }

    pub fn put_storage_class(&mut self, name: &str, is_delayed: bool) {
        if is_delayed {
            self.delayed.insert(name.into());
        } else {
            self.delayed.remove(name);
        }
        self.generation += 1;
    }

    pub fn put_limits(&mut self, node: &str, limits: Option<BTreeMap<String, i64>>) {
        put(&mut self.limits, node, limits);
        self.generation += 1;
    }

    /// A pod that uses the claim came to a node, or left it.
    pub fn count_use(&mut self, claim: &ClaimUse, change: i64) {
        let count = self.in_use.entry(claim.key.clone()).or_insert(0);
        *count += change;
        if *count == 0 {
            self.in_use.remove(&claim.key);
        }
        let known = self.claims.get(&claim.key);
        self.generation += u64::from(known.is_some_and(|claim| claim.for_one_pod));
    }

    pub fn needs(&self, claims: &[ClaimUse]) -> Needs {
        let mut needs = Needs::default();
        for claim_use in claims {
            let Some(claim) = self.claims.get(&claim_use.key) else {
                needs.refusal = Some(absent(claim_use));
                return needs;
            };
            if claim.for_one_pod {
                needs.for_one_pod.push(claim_use.key.clone());
            }
            let (name, volume) = (claim_use.name(), claim.volume.as_deref());
            if claim.is_lost {
                let volume = volume.unwrap_or_default();
                let why = format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
                );
                needs.refusal = Some((BINDING, why));
            } else if claim.is_leaving {
                let why = format!("persistentvolumeclaim \"{name}\" is being deleted");
                needs.refusal = Some((BINDING, why));
            } else if let Some(volume) = volume.filter(|_| claim.is_bound) {
                needs.volumes.push(volume.to_owned());
            } else if self.is_delayed(claim) {
                needs.undecided.push(claim_use.field.clone());
            } else {
                let why = "pod has unbound immediate PersistentVolumeClaims".to_owned();
                needs.refusal = needs.refusal.or(Some((BINDING, why)));
            }
        }
        needs
    }

    fn is_delayed(&self, claim: &Claim) -> bool {
        let class = claim.storage_class.as_deref();
        claim.volume.is_none() && class.is_some_and(|class| self.delayed.contains(class))
    }

    /// Whether a claim for one pod is used by another. `change`: pods that are imagined to come or go, by claim.
    pub fn is_taken(&self, needs: &Needs, change: impl Fn(&str) -> i64) -> bool {
        needs.for_one_pod.iter().any(|claim| {
            let count = self.in_use.get(claim).copied().unwrap_or(0);
            count + change(claim) > 0
        })
    }

    /// A bound claim's volume does not exist.
    pub fn lacks_volume(&self, needs: &Needs) -> bool {
        let mut volumes = needs.volumes.iter();
        !volumes.all(|name| self.volumes.contains_key(name.as_str()))
    }

    fn bound<'a>(&'a self, needs: &'a Needs) -> impl Iterator<Item = &'a Volume> {
        let volumes = needs.volumes.iter();
        volumes.filter_map(|name| self.volumes.get(name.as_str()))
    }

    pub fn reach(&self, needs: &Needs, node: crate::affinity::NodeIdentity<'_>) -> bool {
        self.bound(needs)
            .all(|volume| volume.affinity.matches(node))
    }

    /// A node that says nothing of zones takes volumes of any.
    pub fn are_in_zone(&self, needs: &Needs, labels: &Labels) -> bool {
        let mut known = ZONE_LABELS.iter();
        if !known.any(|(label, _)| lookup(labels, label).is_some()) {
            return true;
        }
        self.bound(needs).all(|volume| {
            volume.zones.iter().all(|(key, zones)| {
                let mut names = ZONE_LABELS.iter();
                let newer = names
                    .find(|(label, _)| label == key)
                    .map(|(_, newer)| *newer);
                let here = lookup(labels, key).or_else(|| lookup(labels, newer?));
                here.is_some_and(|here| zones.contains(here))
            })
        })
    }

    /// Whether the node takes the pod's volumes besides those of the claims used there.
    pub fn are_within_limits<'a>(
        &self,
        needs: &Needs,
        node: &str,
        there: impl Iterator<Item = &'a str>,
    ) -> bool {
        let Some(limits) = self.limits.get(node).filter(|limits| !limits.is_empty()) else {
            return true;
        };
        let mut wanted: BTreeSet<&(String, String)> = self
            .bound(needs)
            .filter_map(|volume| volume.csi.as_ref())
            .collect();
        if wanted.is_empty() {
            return true;
        }
        let attached: BTreeSet<&(String, String)> = there
            .filter_map(|claim| {
                let volume = self.claims.get(claim)?.volume.as_deref()?;
                self.volumes.get(volume)?.csi.as_ref()
            })
            .collect();
        wanted.retain(|volume| !attached.contains(volume));
        let of = |driver: &str, volumes: &BTreeSet<&(String, String)>| {
            volumes.iter().filter(|(each, _)| each == driver).count() as i64
        };
        limits.iter().all(|(driver, limit)| {
            let more = of(driver, &wanted);
            more == 0 || of(driver, &attached) + more <= *limit
        })
    }
}

fn put<T>(map: &mut Map<Box<str>, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(key.into(), value),
        None => map.remove(key),
    };
}

fn absent(claim: &ClaimUse) -> (&'static str, String) {
    let name = claim.name();
    if claim.is_ephemeral {
        let why = format!(
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
        );
        (BINDING, why)
    } else {
        (
            RESTRICTIONS,
            format!("persistentvolumeclaim \"{name}\" not found"),
        )
    }
}
