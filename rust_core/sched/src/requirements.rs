//! What a pod asks of a node: all that filters and scorers read. Pods that ask the same are one class and share their work.

use crate::affinity::{Preferred, Required};
use crate::labels::sorted;
use crate::ports::HostPort;
use crate::resource::PodRequests;
use crate::snapshot::Snapshot;
use crate::spread::Spreading;
use crate::volumes::ClaimUse;
use crate::wire::{self, Toleration};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Requirements {
    /// The profile that decides for the pod, by its place among the kernel's.
    pub profile: usize,
    /// `spec.nodeName`, if the pod insists on one node.
    pub node_name: Option<String>,
    pub requests: PodRequests,
    pub required: Required,
    pub preferred: Preferred,
    pub tolerations: Vec<Toleration>,
    /// One entry for each container, init containers first; normalised to carry a tag.
    pub images: Vec<String>,
    pub ports: Vec<HostPort>,
    pub claims: Vec<ClaimUse>,
    pub spreading: Spreading,
    /// Constraints that no plugin here decides: the field paths. A pod with any stays pending.
    pub undecided: Vec<String>,
}

impl Requirements {
    /// `words`: where names of resources and topology keys become numbers.
    pub fn of(pod: &wire::Pod, words: &mut Snapshot) -> Requirements {
        let (spec, labels) = (&pod.spec, sorted(pod.metadata.labels.as_ref()));
        let containers = spec
            .init_containers
            .iter()
            .flatten()
            .chain(spec.containers.iter().flatten());
        Requirements {
            profile: 0,
            node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
            requests: PodRequests::of(spec, &mut words.resources),
            required: Required::of(spec),
            preferred: Preferred::of(spec),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            images: containers
                .map(|container| normalized_image(container.image.as_deref().unwrap_or_default()))
                .collect(),
            ports: HostPort::of(spec),
            claims: claims(pod),
            spreading: Spreading::of(spec, &labels, |key| words.topology_key(key)),
            undecided: UNDECIDED.iter().flat_map(|find| find(spec)).collect(),
        }
    }
}

/// Each finds the fields of one hard constraint that the plugin table cannot decide yet. A plugin that learns to takes its row away.
const UNDECIDED: [fn(&wire::PodSpec) -> Vec<String>; 1] = [resource_claims];

/// The claims that a pod names, and those that are made for it alone.
fn claims(pod: &wire::Pod) -> Vec<ClaimUse> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.volumes.iter().flatten().enumerate();
    let found = volumes.filter_map(|(index, volume)| {
        let (name, kind) = match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => (claim.claim_name.clone(), "persistentVolumeClaim"),
            (None, Some(_)) => (
                format!("{}-{}", pod.metadata.name, volume.name),
                "ephemeral",
            ),
            (None, None) => return None,
        };
        Some(ClaimUse {
            key: format!("{namespace}/{name}").into(),
            is_ephemeral: kind == "ephemeral",
            field: format!("spec.volumes[{index}].{kind}"),
        })
    });
    found.collect()
}

fn resource_claims(spec: &wire::PodSpec) -> Vec<String> {
    (0..spec.resource_claims.iter().flatten().count())
        .map(|index| format!("spec.resourceClaims[{index}]"))
        .collect()
}

/// An image without a tag is its `latest`.
pub fn normalized_image(name: &str) -> String {
    if name.rfind(':') <= name.rfind('/') {
        format!("{name}:latest")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements(spec: &str) -> Requirements {
        let metadata = wire::Metadata {
            name: "web".to_owned(),
            namespace: Some("default".to_owned()),
            ..wire::Metadata::default()
        };
        let pod = wire::Pod {
            metadata,
            spec: serde_json::from_str(spec).expect("a pod spec"),
            ..wire::Pod::default()
        };
        Requirements::of(&pod, &mut Snapshot::default())
    }

    #[test]
    fn a_constraint_that_no_plugin_decides_is_named_by_its_field() {
        let undecided = requirements(r#"{"resourceClaims":[{"name":"gpu"}]}"#).undecided;
        assert_eq!(undecided, ["spec.resourceClaims[0]"]);
    }

    #[test]
    fn claims_are_those_that_are_named_and_those_made_for_the_pod() {
        let spec = r#"{"volumes":[{"name":"c","configMap":{"name":"a"}},{"name":"d","persistentVolumeClaim":{"claimName":"data"}},
            {"name":"tmp","ephemeral":{}}]}"#;
        let found = requirements(spec).claims;
        let keys: Vec<&str> = found.iter().map(|claim| &*claim.key).collect();
        assert_eq!(keys, ["default/data", "default/web-tmp"]);
        assert_eq!(found[1].field, "spec.volumes[2].ephemeral");
    }

    #[test]
    fn an_image_without_a_tag_is_latest() {
        assert_eq!(
            normalized_image("registry:5000/nginx"),
            "registry:5000/nginx:latest"
        );
        assert_eq!(normalized_image("nginx:1.27"), "nginx:1.27");
        assert_eq!(normalized_image("nginx"), "nginx:latest");
    }
}
