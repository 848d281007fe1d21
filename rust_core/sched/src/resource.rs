//! Resource names as small numbers, and what one pod requests of each.
//!
//! A pod runs its init containers one after another, beside the restartable ones (sidecars) that started before them, and then all
//! its containers at once: it needs the largest of these sums. Overhead comes on top; pod-level requests replace the sum.
//! Source: KEP-753 (sidecars), KEP-688 (overhead), KEP-2837 (pod-level resources).

use std::collections::BTreeMap;

use crate::quantity::Quantity;
use crate::wire;

/// An index into the table of resource names that this kernel has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u16);

impl ResourceId {
    pub const CPU: ResourceId = ResourceId(0);
    pub const MEMORY: ResourceId = ResourceId(1);
    pub const PODS: ResourceId = ResourceId(3);
}

/// In the order of the ids above; ephemeral storage is the third.
const WELL_KNOWN: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// A container that names no request counts this much when nodes are compared (never when they are filtered).
const DEFAULT_CPU: Quantity = Quantity::millis(100);
const DEFAULT_MEMORY: Quantity = Quantity::units(200 * 1024 * 1024);

/// Names ↔ ids. At most 65,536 names: a further name is treated as one that no node has.
#[derive(Debug)]
pub struct ResourceNames {
    names: Vec<String>,
    ids: BTreeMap<String, ResourceId>,
}

impl Default for ResourceNames {
    fn default() -> Self {
        let names: Vec<String> = WELL_KNOWN.iter().map(ToString::to_string).collect();
        let ids = names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.clone(), ResourceId(index as u16)))
            .collect();
        ResourceNames { names, ids }
    }
}

impl ResourceNames {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn name(&self, id: ResourceId) -> &str {
        &self.names[usize::from(id.0)]
    }

    /// The id of a resource that the scheduler accounts; `None` for names that it ignores.
    pub fn intern(&mut self, name: &str) -> Option<ResourceId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        if !is_scalar(name) {
            return None;
        }
        let id = ResourceId(u16::try_from(self.names.len()).ok()?);
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        Some(id)
    }

    /// A list of quantities as whole amounts (CPU in thousandths), ordered by id.
    pub fn amounts(&mut self, quantities: &BTreeMap<&str, Quantity>) -> Vec<(ResourceId, i64)> {
        let mut amounts: Vec<(ResourceId, i64)> = quantities
            .iter()
            .filter_map(|(name, quantity)| {
                let id = self.intern(name)?;
                Some((
                    id,
                    if id == ResourceId::CPU {
                        quantity.milli_value()
                    } else {
                        quantity.value()
                    },
                ))
            })
            .collect();
        amounts.sort_unstable();
        amounts
    }
}

/// Extended, huge page, attachable volume and prefixed native resources.
fn is_scalar(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let extended = !native && !name.starts_with("requests.");
    extended
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || name.contains("kubernetes.io/")
}

/// What a pod needs, in whole amounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodRequests {
    /// By id; CPU in thousandths; never `pods`.
    pub amounts: Vec<(ResourceId, i64)>,
    /// CPU and memory, with defaults for silent containers: what the pod weighs on its node in scores.
    pub nonzero: [i64; 2],
    /// The same as the scorer sees the incoming pod: differs from `nonzero` only under pod-level requests.
    pub scored: [i64; 2],
}

impl PodRequests {
    pub fn of(spec: &wire::PodSpec, names: &mut ResourceNames) -> PodRequests {
        let defaults = [("cpu", DEFAULT_CPU), ("memory", DEFAULT_MEMORY)];
        let requests = pod_total(spec, &[]);
        let scored = pod_total(spec, &defaults);
        let nonzero = if pod_level(spec).next().is_some() {
            let missing: Vec<_> = defaults
                .into_iter()
                .filter(|(name, _)| !requests.contains_key(name))
                .collect();
            pod_total(spec, &missing)
        } else {
            scored.clone()
        };
        let mut amounts = names.amounts(&requests);
        amounts.retain(|(id, _)| *id != ResourceId::PODS);
        PodRequests {
            amounts,
            nonzero: cpu_and_memory(&nonzero),
            scored: cpu_and_memory(&scored),
        }
    }

    pub fn amount(&self, id: ResourceId) -> i64 {
        self.amounts
            .iter()
            .find(|(each, _)| *each == id)
            .map_or(0, |(_, amount)| *amount)
    }
}

fn cpu_and_memory(total: &BTreeMap<&str, Quantity>) -> [i64; 2] {
    let of = |name| total.get(name).copied().unwrap_or_default();
    [of("cpu").milli_value(), of("memory").value()]
}

type Sum<'a> = BTreeMap<&'a str, Quantity>;

/// The pod's requests, each silent container given `defaults`.
fn pod_total<'a>(spec: &'a wire::PodSpec, defaults: &[(&'a str, Quantity)]) -> Sum<'a> {
    let mut total = Sum::new();
    for container in spec.containers.iter().flatten() {
        add(&mut total, &container_requests(container, defaults));
    }
    let mut sidecars = Sum::new();
    let mut initial = Sum::new();
    for container in spec.init_containers.iter().flatten() {
        let own = container_requests(container, defaults);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut initial, &sidecars);
        } else {
            let mut beside = own;
            add(&mut beside, &sidecars);
            raise(&mut initial, &beside);
        }
    }
    raise(&mut total, &initial);
    for (name, quantity) in pod_level(spec) {
        total.insert(name, quantity);
    }
    if let Some(overhead) = &spec.overhead {
        add(&mut total, &parse(overhead));
    }
    total
}

fn pod_level(spec: &wire::PodSpec) -> impl Iterator<Item = (&str, Quantity)> {
    let requests = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    requests
        .map(parse)
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| matches!(*name, "cpu" | "memory") || name.starts_with("hugepages-"))
}

fn container_requests<'a>(
    container: &'a wire::Container,
    defaults: &[(&'a str, Quantity)],
) -> Sum<'a> {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let mut sum = requests.map(parse).unwrap_or_default();
    for (name, quantity) in defaults {
        sum.entry(name).or_insert(*quantity);
    }
    sum
}

/// Text that is no quantity counts nothing: the API server never stores any.
pub fn parse(quantities: &wire::Quantities) -> Sum<'_> {
    quantities
        .iter()
        .map(|(name, amount)| {
            let quantity = match amount {
                wire::Amount::Text(text) => Quantity::parse(text),
                wire::Amount::Number(number) => Quantity::parse(&number.to_string()),
            };
            (name.as_str(), quantity.unwrap_or_default())
        })
        .collect()
}

fn add<'a>(total: &mut Sum<'a>, other: &Sum<'a>) {
    for (name, quantity) in other {
        let sum = total.entry(name).or_default();
        *sum = sum.plus(*quantity);
    }
}

fn raise<'a>(total: &mut Sum<'a>, other: &Sum<'a>) {
    for (name, quantity) in other {
        let largest = total.entry(name).or_insert(*quantity);
        *largest = (*largest).max(*quantity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(spec: &str) -> (PodRequests, ResourceNames) {
        let mut names = ResourceNames::default();
        let spec: wire::PodSpec = serde_json::from_str(spec).expect("a pod spec");
        (PodRequests::of(&spec, &mut names), names)
    }

    fn cpu(spec: &str) -> i64 {
        requests(spec).0.amount(ResourceId::CPU)
    }

    #[test]
    fn containers_are_summed_and_the_largest_init_container_counts_if_larger() {
        let spec = r#"{"containers":[{"resources":{"requests":{"cpu":"1"}}},{"resources":{"requests":{"cpu":"500m"}}}],
            "initContainers":[{"resources":{"requests":{"cpu":"2"}}}]}"#;
        assert_eq!(cpu(spec), 2000);
    }

    #[test]
    fn a_sidecar_counts_beside_later_init_containers_and_beside_the_containers() {
        let spec = r#"{"containers":[{"resources":{"requests":{"cpu":"1"}}}],
            "initContainers":[{"restartPolicy":"Always","resources":{"requests":{"cpu":"300m"}}},{"resources":{"requests":{"cpu":"2"}}}]}"#;
        assert_eq!(cpu(spec), 2300);
    }

    #[test]
    fn pod_level_requests_replace_the_sum_and_overhead_is_added() {
        let spec = r#"{"containers":[{"resources":{"requests":{"cpu":"1"}}}],"resources":{"requests":{"cpu":"4"}},"overhead":{"cpu":"250m"}}"#;
        assert_eq!(cpu(spec), 4250);
    }

    #[test]
    fn a_silent_container_weighs_the_default_in_scores_only() {
        let (requests, _) =
            requests(r#"{"containers":[{},{"resources":{"requests":{"cpu":"1"}}}]}"#);
        assert_eq!(requests.amounts, vec![(ResourceId::CPU, 1000)]);
        assert_eq!(requests.nonzero, [1100, 2 * 200 * 1024 * 1024]);
    }

    #[test]
    fn extended_resources_are_accounted_and_unknown_native_ones_ignored() {
        let (requests, names) = requests(
            r#"{"containers":[{"resources":{"requests":{"example.com/gpu":"2","mystery":"9"}}}]}"#,
        );
        assert_eq!(requests.amounts.len(), 1);
        assert_eq!(names.name(requests.amounts[0].0), "example.com/gpu");
    }
}
