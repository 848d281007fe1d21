// What nodes and pods use: asked of metrics.k8s.io every ten seconds while somebody looks, kept for a quarter of an hour. What happened
// before we looked comes from the kubelet's own short history, if the user may ask the node for it.

import { quantity } from "./format.js";

const INTERVAL_MILLISECONDS = 10000;
const POINTS_MAX = 90;
const SERIES_MAX = 3000;
const SEEDED_NODES_MAX = 8;

export class Usage {
  available = null; // null: not asked yet
  error = null;
  #series = new Map();
  #latest = new Map();
  #together = new Map();
  #cameAt = 0;
  #listeners = new Set();
  #timer = 0;
  #api;

  constructor(api) {
    this.#api = api;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#listeners.size) this.#ask();
    });
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#ask();
    else listener();
    return () => {
      this.#listeners.delete(listener);
      if (!this.#listeners.size) clearTimeout(this.#timer);
    };
  }

  node = (name) => this.#latest.get(`node/${name}`);
  pod = (namespace, name) => this.#latest.get(`pod/${namespace}/${name}`);
  nodePoints = (name) => this.#series.get(`node/${name}`) ?? [];
  podPoints = (namespace, name) => this.#series.get(`pod/${namespace}/${name}`) ?? [];

  // All nodes together, point by point.
  get totalPoints() {
    return this.#series.get("total") ?? [];
  }

  // What several pods use together, noted once for each time that figures came; kept as long as somebody notes it.
  together(key, pods) {
    const series = this.#together.get(key) ?? [];
    this.#together.set(key, series);
    const used = pods.map(({ metadata }) => this.pod(metadata.namespace, metadata.name)).filter(Boolean);
    if (used.length && series.at(-1)?.at !== this.#cameAt) {
      const sum = (field) => used.reduce((total, each) => total + each[field], 0);
      series.push({ at: this.#cameAt, cpu: sum("cpu"), memory: sum("memory") });
      if (series.length > POINTS_MAX) series.shift();
    }
    return series;
  }

  forget(key) {
    this.#together.delete(key);
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      const [nodes, pods] = await Promise.all([this.#list("nodes"), this.#list("pods")]);
      this.#note(nodes ?? [], pods ?? []);
      this.available = nodes !== null || pods !== null;
    } catch (error) {
      this.available = false;
      this.error = error;
    }
    for (const listener of this.#listeners) listener();
    if (this.#listeners.size) this.#timer = setTimeout(() => this.#ask(), INTERVAL_MILLISECONDS);
  }

  async #list(plural) {
    if (!(await this.#api.can("list", { group: "metrics.k8s.io", resource: plural }))) return null;
    return (await this.#api.json(`/apis/metrics.k8s.io/v1beta1/${plural}`)).items;
  }

  #note(nodes, pods) {
    const latest = new Map();
    const now = (this.#cameAt = Date.now());
    const total = { at: now, cpu: 0, memory: 0 };
    for (const { metadata, usage, timestamp } of nodes) {
      const point = { at: Date.parse(timestamp), cpu: quantity(usage.cpu), memory: quantity(usage.memory) };
      latest.set(`node/${metadata.name}`, point);
      total.cpu += point.cpu;
      total.memory += point.memory;
    }
    for (const { metadata, containers, timestamp } of pods) {
      const point = { at: Date.parse(timestamp), cpu: 0, memory: 0, containers: new Map() };
      for (const { name, usage } of containers) {
        const used = { cpu: quantity(usage.cpu), memory: quantity(usage.memory) };
        point.containers.set(name, used);
        point.cpu += used.cpu;
        point.memory += used.memory;
      }
      latest.set(`pod/${metadata.namespace}/${metadata.name}`, point);
    }
    if (nodes.length) latest.set("total", total);
    this.#latest = latest;
    const kept = new Map();
    for (const [key, point] of latest) {
      const points = this.#series.get(key) ?? [];
      if (!points.length && kept.size >= SERIES_MAX) continue;
      if (!points.length || point.at > points[points.length - 1].at) points.push(point);
      if (points.length > POINTS_MAX) points.shift();
      kept.set(key, points);
    }
    this.#series = kept;
  }

  // Puts the kubelet's history before what we have seen ourselves.
  async seed(key, node, podUid) {
    if (!(await this.#api.can("get", { resource: "nodes", subresource: "proxy", name: node }))) return;
    this.#prepend(key, await this.#history(node, podUid));
  }

  // All nodes together, where there are few enough to ask each.
  async seedTotal(nodes) {
    if (nodes.length > SEEDED_NODES_MAX || !(await this.#api.can("get", { resource: "nodes", subresource: "proxy" }))) return;
    const histories = await Promise.all(nodes.map((node) => this.#history(node)));
    const moments = new Map();
    for (const history of histories) {
      for (const { at, cpu, memory } of history) {
        const moment = Math.floor(at / INTERVAL_MILLISECONDS) * INTERVAL_MILLISECONDS;
        const sum = moments.get(moment) ?? { at: moment, cpu: 0, memory: 0, nodes: 0 };
        moments.set(moment, { at: moment, cpu: sum.cpu + cpu, memory: sum.memory + memory, nodes: sum.nodes + 1 });
      }
    }
    // A moment at which a node is missing would look like a fall.
    const whole = [...moments.values()].filter((sum) => sum.nodes === nodes.length);
    this.#prepend("total", whole.sort((a, b) => a.at - b.at));
  }

  async #history(node, podUid) {
    const query = podUid ? `?pod=${encodeURIComponent(podUid)}` : "";
    try {
      const { points } = await this.#api.json(`/api/v1/nodes/${encodeURIComponent(node)}/proxy/stats/history${query}`);
      return points
        .filter(([, nanocores]) => nanocores !== null)
        .map(([seconds, nanocores, workingSet]) => ({ at: seconds * 1000, cpu: nanocores / 1e9, memory: workingSet }));
    } catch {
      return []; // Another kubelet, or none that answers: the chart begins now.
    }
  }

  #prepend(key, points) {
    const seen = this.#series.get(key) ?? [];
    const before = seen.length ? seen[0].at : Infinity;
    this.#series.set(key, [...points.filter((point) => point.at < before), ...seen].slice(-POINTS_MAX));
    for (const listener of this.#listeners) listener();
  }
}
