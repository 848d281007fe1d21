// Figures and states as people read them.

const SUFFIXES = { n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 };

export function quantity(text) {
  const match = /^([+-]?[\d.]+)(?:([eE][+-]?\d+)|([numkMGTPE]i?|Ki)?)$/.exec(String(text ?? "0"));
  if (!match) return 0;
  return match[2] ? Number(match[1] + match[2]) : Number(match[1]) * (SUFFIXES[match[3] ?? ""] ?? 1);
}

export const sum = (quantities) => quantities.reduce((total, text) => total + quantity(text), 0);

export function cores(value) {
  if (value === undefined || value === null) return "–";
  if (value < 0.001) return value ? "<1m" : "0";
  if (value < 1) return `${Math.round(value * 1000)}m`;
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2).replace(/\.?0+$/, "");
}

export function bytes(value) {
  if (value === undefined || value === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

export const count = (value) => (value ?? 0).toLocaleString("en");

export function age(timestamp) {
  if (!timestamp) return "–";
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(timestamp)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${seconds % 60 ? `${seconds % 60}s` : ""}`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

export const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString("en-GB");

// ── states, each with a tone: good, busy, bad, quiet ──

export function podStatus(pod) {
  if (pod.metadata.deletionTimestamp) return { text: "Terminating", tone: "busy" };
  let text = pod.reason || pod.phase || "Unknown";
  const inits = pod.initContainerStatuses ?? [];
  const total = pod.initContainers.length;
  for (const [position, status] of inits.entries()) {
    const sidecar = pod.initContainers.find(({ name }) => name === status.name)?.restartPolicy === "Always";
    const { terminated, waiting } = status.state ?? {};
    if (terminated?.exitCode === 0 || (sidecar && status.started)) continue;
    if (terminated) text = `Init:${terminated.reason || `ExitCode:${terminated.exitCode}`}`;
    else if (waiting?.reason && waiting.reason !== "PodInitializing") text = `Init:${waiting.reason}`;
    else text = `Init:${position}/${total}`;
    return { text, tone: /Error|BackOff|Exit/.test(text) ? "bad" : "busy" };
  }
  for (const status of pod.containerStatuses ?? []) {
    const { waiting, terminated } = status.state ?? {};
    if (waiting?.reason) text = waiting.reason;
    else if (terminated) text = terminated.reason || `ExitCode:${terminated.exitCode}`;
  }
  if (/Error|BackOff|Failed|Invalid|OOM|Evicted|Exit|CannotRun|Unknown/.test(text)) return { text, tone: "bad" };
  if (text === "Running") return isReady(pod) ? { text, tone: "good" } : { text: "Not ready", tone: "busy" };
  return { text, tone: ["Succeeded", "Completed"].includes(text) ? "quiet" : "busy" };
}

export const condition = (object, type) => (object.conditions ?? []).find((each) => each.type === type);
export const isReady = (object) => condition(object, "Ready")?.status === "True";
export const restarts = (pod) => (pod.containerStatuses ?? []).reduce((total, status) => total + (status.restartCount ?? 0), 0);
export const readyContainers = (pod) => `${(pod.containerStatuses ?? []).filter((status) => status.ready).length}/${pod.containers.length}`;

export function nodeStatus(node) {
  const ready = condition(node, "Ready")?.status;
  const pressures = (node.conditions ?? []).filter(({ type, status }) => /Pressure|Unavailable/.test(type) && status === "True");
  if (ready !== "True") return { text: ready === "False" ? "Not ready" : "Silent", tone: "bad" };
  if (pressures.length) return { text: pressures[0].type, tone: "busy" };
  if (node.unschedulable) return { text: "Cordoned", tone: "busy" };
  return { text: "Ready", tone: "good" };
}

export const roles = (node) =>
  Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith("node-role.kubernetes.io/"))
    .map((label) => label.slice(24))
    .join(", ") || "–";

// (ready, wanted) of whatever runs pods.
export function progress(workload) {
  const { status } = workload;
  switch (workload.kind) {
    case "DaemonSet":
      return [status.numberReady ?? 0, status.desiredNumberScheduled ?? 0];
    case "Job":
      return [status.succeeded ?? 0, workload.completions ?? 1];
    case "CronJob":
      return [(status.active ?? []).length, (status.active ?? []).length];
    default:
      return [status.readyReplicas ?? 0, workload.replicas ?? 1];
  }
}

export function workloadStatus(workload) {
  if (workload.metadata.deletionTimestamp) return { text: "Terminating", tone: "busy" };
  if (workload.kind === "CronJob") return workload.suspend ? { text: "Suspended", tone: "quiet" } : { text: "Scheduled", tone: "good" };
  const conditions = workload.status.conditions ?? [];
  const failed = conditions.find(({ type, status }) => (type === "Failed" || type === "ReplicaFailure") && status === "True");
  if (failed) return { text: failed.reason ?? failed.type, tone: "bad" };
  if (conditions.find(({ type, status }) => type === "Progressing" && status === "False")) return { text: "Stuck", tone: "bad" };
  const [ready, wanted] = progress(workload);
  if (workload.kind === "Job") return ready >= wanted ? { text: "Complete", tone: "quiet" } : { text: "Running", tone: "busy" };
  if (!wanted) return { text: "Scaled to 0", tone: "quiet" };
  return ready >= wanted ? { text: "Available", tone: "good" } : { text: "Progressing", tone: "busy" };
}
