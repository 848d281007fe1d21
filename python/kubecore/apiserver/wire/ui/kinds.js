// The kinds that the page shows: where they are, and what is kept of each object. Objects of 10,000 pods are held in memory, so what no
// view reads is dropped when it arrives.

const kind = (name, group, version, plural, namespaced, keep) => ({
  kind: name,
  group,
  version,
  plural,
  namespaced,
  keep,
  qualified: group ? `${plural}.${group}` : plural,
  root: group ? `/apis/${group}/${version}` : `/api/${version}`,
  path(namespace, object, subresource) {
    const parts = [this.root];
    if (this.namespaced && namespace) parts.push("namespaces", encodeURIComponent(namespace));
    parts.push(this.plural);
    if (object) parts.push(encodeURIComponent(object));
    if (subresource) parts.push(subresource);
    return parts.join("/");
  },
});

function metadata({ name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels, ownerReferences, generation, annotations }) {
  const kept = { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels, generation };
  kept.owner = (ownerReferences ?? []).find((reference) => reference.controller);
  if (annotations?.["kwok.x-k8s.io/node"]) kept.simulated = true;
  return kept;
}

const requested = (containers, resource) => (containers ?? []).map((container) => container.resources?.requests?.[resource]).filter(Boolean);

function pod({ spec = {}, status = {} }) {
  return {
    nodeName: spec.nodeName,
    containers: (spec.containers ?? []).map(({ name, image, ports }) => ({ name, image, ports })),
    initContainers: (spec.initContainers ?? []).map(({ name, image, restartPolicy }) => ({ name, image, restartPolicy })),
    cpuRequests: requested(spec.containers, "cpu"),
    memoryRequests: requested(spec.containers, "memory"),
    phase: status.phase,
    reason: status.reason,
    message: status.message,
    podIP: status.podIP,
    qosClass: status.qosClass,
    startTime: status.startTime,
    conditions: status.conditions,
    containerStatuses: status.containerStatuses,
    initContainerStatuses: status.initContainerStatuses,
  };
}

function node({ spec = {}, status = {} }) {
  return {
    unschedulable: spec.unschedulable,
    taints: spec.taints,
    podCIDR: spec.podCIDR,
    conditions: status.conditions,
    addresses: status.addresses,
    allocatable: status.allocatable,
    capacity: status.capacity,
    nodeInfo: status.nodeInfo,
  };
}

function workload({ spec = {}, status = {} }) {
  const template = (spec.template ?? spec.jobTemplate?.spec?.template)?.spec;
  return {
    replicas: spec.replicas,
    completions: spec.completions,
    paused: spec.paused,
    suspend: spec.suspend,
    schedule: spec.schedule,
    selector: spec.selector?.matchLabels ?? spec.selector,
    strategy: spec.strategy?.type ?? spec.updateStrategy?.type,
    images: [...new Set((template?.containers ?? []).map((container) => container.image))],
    status,
  };
}

const service = ({ spec = {}, status = {} }) => ({
  type: spec.type,
  clusterIP: spec.clusterIP,
  externalIPs: spec.externalIPs,
  ports: spec.ports,
  selector: spec.selector,
  ingress: status.loadBalancer?.ingress,
});

const event = (object) => ({
  type: object.type,
  reason: object.reason,
  message: object.message ?? object.note,
  about: object.involvedObject ?? object.regarding,
  source: object.source?.component ?? object.reportingComponent ?? object.reportingController,
  count: object.count ?? object.series?.count ?? 1,
  last: object.lastTimestamp ?? object.series?.lastObservedTime ?? object.eventTime ?? object.metadata.creationTimestamp,
});

export const KINDS = {
  nodes: kind("Node", "", "v1", "nodes", false, node),
  namespaces: kind("Namespace", "", "v1", "namespaces", false, ({ status }) => ({ phase: status?.phase })),
  pods: kind("Pod", "", "v1", "pods", true, pod),
  services: kind("Service", "", "v1", "services", true, service),
  events: kind("Event", "", "v1", "events", true, event),
  deployments: kind("Deployment", "apps", "v1", "deployments", true, workload),
  replicasets: kind("ReplicaSet", "apps", "v1", "replicasets", true, workload),
  statefulsets: kind("StatefulSet", "apps", "v1", "statefulsets", true, workload),
  daemonsets: kind("DaemonSet", "apps", "v1", "daemonsets", true, workload),
  replicationcontrollers: kind("ReplicationController", "", "v1", "replicationcontrollers", true, workload),
  jobs: kind("Job", "batch", "v1", "jobs", true, workload),
  cronjobs: kind("CronJob", "batch", "v1", "cronjobs", true, workload),
  endpointslices: kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", true, ({ endpoints }) => ({
    endpoints: (endpoints ?? []).map(({ addresses, conditions }) => ({ addresses, ready: conditions?.ready })),
  })),
};

export const WORKLOADS = ["deployments", "statefulsets", "daemonsets", "replicationcontrollers", "replicasets", "jobs", "cronjobs"];

export const byPlural = (plural) => KINDS[plural];

export function slim(kindOf, object) {
  return { kind: kindOf.kind, metadata: metadata(object.metadata), ...kindOf.keep(object) };
}

export const keyOf = ({ metadata: { namespace, name } }) => (namespace ? `${namespace}/${name}` : name);
