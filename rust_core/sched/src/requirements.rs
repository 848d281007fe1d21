//! What a pod asks of a node: all that filters and scorers read. Pods that ask the same are one class and share their work.

use crate::affinity::{Preferred, Required};
use crate::labels::Labels;
use crate::ports::HostPort;
use crate::resource::PodRequests;
use crate::snapshot::Snapshot;
use crate::spread::Spreading;
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
    pub spreading: Spreading,
    /// Constraints that no plugin here decides: the field paths. A pod with any stays pending.
    pub undecided: Vec<String>,
}

impl Requirements {
    /// `words`: where names of resources and topology keys become numbers.
    pub fn of(spec: &wire::PodSpec, labels: &Labels, words: &mut Snapshot) -> Requirements {
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
            spreading: Spreading::of(spec, labels, |key| words.topology_key(key)),
            undecided: UNDECIDED.iter().flat_map(|find| find(spec)).collect(),
        }
    }
}

/// Each finds the fields of one hard constraint that the plugin table cannot decide yet. A plugin that learns to takes its row away.
const UNDECIDED: [fn(&wire::PodSpec) -> Vec<String>; 2] = [volumes, resource_claims];

fn volumes(spec: &wire::PodSpec) -> Vec<String> {
    let mut fields = Vec::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume.persistent_volume_claim.is_some() {
            fields.push(format!("spec.volumes[{index}].persistentVolumeClaim"));
        }
        if volume.ephemeral.is_some() {
            fields.push(format!("spec.volumes[{index}].ephemeral"));
        }
    }
    fields
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

    fn undecided(spec: &str) -> Vec<String> {
        let spec: wire::PodSpec = serde_json::from_str(spec).expect("a pod spec");
        Requirements::of(&spec, &[], &mut Snapshot::default()).undecided
    }

    #[test]
    fn each_constraint_that_no_plugin_decides_is_named_by_its_field() {
        for (spec, field) in [
            (
                r#"{"volumes":[{"emptyDir":{}},{"persistentVolumeClaim":{"claimName":"a"}}]}"#,
                "spec.volumes[1].persistentVolumeClaim",
            ),
            (
                r#"{"resourceClaims":[{"name":"gpu"}]}"#,
                "spec.resourceClaims[0]",
            ),
        ] {
            assert_eq!(undecided(spec), [field]);
        }
    }

    #[test]
    fn plain_volumes_leave_nothing_undecided() {
        let spec = r#"{"volumes":[{"configMap":{"name":"a"}}]}"#;
        assert!(undecided(spec).is_empty());
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
