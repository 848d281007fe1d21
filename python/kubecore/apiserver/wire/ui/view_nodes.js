// Nodes: who they are, what they offer and use, what runs on them.

import { actions } from "./actions.js";
import { Chart, meter } from "./chart.js";
import { h, onFrame, replace } from "./dom.js";
import { bytes, cores, nodeStatus, podStatus, quantity, roles, sum } from "./format.js";
import { ageOf, card, chip, eventRows, facts, labels, link, listState, since } from "./parts.js";
import { Table } from "./table.js";
import { podColumns } from "./view_pods.js";

function podCounts(pods) {
  const counts = new Map();
  for (const pod of pods.items.values()) counts.set(pod.nodeName, (counts.get(pod.nodeName) ?? 0) + 1);
  return counts;
}

const share = (used, node, resource) => (used === undefined ? undefined : used / quantity(node.allocatable?.[resource]));

export function nodesView({ collections, usage, state, main }) {
  const nodes = collections.of("nodes");
  const pods = collections.of("pods");
  let counts = new Map();
  const used = (node) => usage.node(node.metadata.name);
  const table = new Table({
    label: "Nodes",
    key: (node) => node.metadata.uid,
    open: (node) => (location.hash = `#/nodes/${encodeURIComponent(node.metadata.name)}`),
    empty: "There are no nodes.",
    columns: [
      { title: "Name", width: "minmax(9rem, 1.2fr)", value: (node) => node.metadata.name, cell: (node) => link(`#/nodes/${encodeURIComponent(node.metadata.name)}`, node.metadata.name) },
      { title: "Status", width: "7.5rem", value: (node) => nodeStatus(node).text, cell: (node) => chip(nodeStatus(node)) },
      { title: "Processor", width: "minmax(10rem, 1.4fr)", value: (node) => share(used(node)?.cpu, node, "cpu") ?? -1, cell: (node) => meter(share(used(node)?.cpu, node, "cpu"), `${cores(used(node)?.cpu)} of ${cores(quantity(node.allocatable?.cpu))}`) },
      { title: "Memory", width: "minmax(13.5rem, 1.6fr)", value: (node) => share(used(node)?.memory, node, "memory") ?? -1, cell: (node) => meter(share(used(node)?.memory, node, "memory"), `${bytes(used(node)?.memory)} of ${bytes(quantity(node.allocatable?.memory))}`) },
      { title: "Pods", width: "5rem", align: "number", value: (node) => counts.get(node.metadata.name) ?? 0, cell: (node) => `${counts.get(node.metadata.name) ?? 0} / ${node.allocatable?.pods ?? "–"}` },
      { title: "Roles", width: "minmax(4rem, 0.7fr)", cell: roles },
      { title: "Version", width: "minmax(5rem, 0.8fr)", cell: (node) => node.nodeInfo?.kubeletVersion ?? "–" },
      { title: "Age", width: "4rem", align: "number", value: ageOf, cell: (node) => since(ageOf(node)) },
    ],
  });
  const notice = h("div", {});
  main.append(notice, table.element);
  const draw = onFrame(() => {
    counts = podCounts(pods);
    replace(notice, listState(nodes));
    table.update([...nodes.items.values()].filter((node) => state.matches(node, nodeStatus(node).text)));
  });
  const ends = [nodes.subscribe(draw), pods.subscribe(draw), usage.subscribe(draw), state.subscribe(draw)];
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}

export function nodeView({ api, collections, usage, state, main }, name) {
  const nodes = collections.of("nodes");
  const pods = collections.of("pods");
  const events = collections.of("events");
  const head = h("div", { class: "detail-head" });
  const details = h("div", { class: "columns" });
  const cpu = new Chart({ title: "Processor", format: cores, tone: "cpu" });
  const memory = new Chart({ title: "Memory", format: bytes, tone: "memory" });
  const eventBox = h("div", {});
  const table = new Table({
    label: `Pods on ${name}`,
    key: (pod) => pod.metadata.uid,
    open: (pod) => (location.hash = `#/pods/${pod.metadata.namespace}/${pod.metadata.name}`),
    empty: "No pods run here.",
    columns: podColumns(usage).filter(({ title }) => title !== "Node"),
  });
  const podCard = card("Pods", table.element);
  podCard.classList.add("table-card");
  main.append(head, h("div", { class: "charts" }, cpu.element, memory.element), details, podCard, card("Events", eventBox));

  let shown = null;
  const draw = onFrame(() => {
    const node = nodes.items.get(name);
    if (!node) {
      replace(head, link("#/nodes", "← Nodes"), listState(nodes) ?? h("p", { class: "notice" }, `There is no node ${name}.`));
      return;
    }
    // A simulated node has no kubelet to ask.
    if (shown === null && !node.metadata.simulated) usage.seed(`node/${name}`, name);
    const version = `${node.unschedulable} ${nodeStatus(node).text}`;
    if (shown !== version) {
      shown = version;
      replace(head, link("#/nodes", "← Nodes"), h("h2", {}, name), chip(nodeStatus(node)), node.metadata.simulated && h("span", { class: "tag" }, "simulated"), h("span", { class: "grow" }), actions(api, "nodes", node));
    }
    drawDetails(node);
    const here = [...pods.items.values()].filter((pod) => pod.nodeName === name);
    table.update(here.filter((pod) => state.matches(pod, podStatus(pod).text)));
    podCard.querySelector("h2").textContent = `Pods (${here.length})`;
    replace(eventBox, eventRows([...events.items.values()].filter(({ about }) => about?.kind === "Node" && about.name === name)));
    drawCharts(node, here);
  });
  const drawDetails = (node) => {
    const info = node.nodeInfo ?? {};
    replace(
      details,
      card(
        "Node",
        facts([
          ["Addresses", (node.addresses ?? []).map(({ type, address }) => `${address} (${type})`).join(", ")],
          ["Pod range", node.podCIDR],
          ["Roles", roles(node)],
          ["System", [info.osImage, info.kernelVersion, info.architecture].filter(Boolean).join(", ")],
          ["Runtime", info.containerRuntimeVersion],
          ["Kubelet", info.kubeletVersion],
          ["Taints", (node.taints ?? []).map(({ key, value, effect }) => `${key}${value ? `=${value}` : ""}:${effect}`).join(", ")],
          ["Labels", labels(node.metadata.labels)],
        ]),
      ),
      card(
        "Conditions",
        h("ul", { class: "conditions" }, (node.conditions ?? []).map((each) => {
          const well = (each.type === "Ready") === (each.status === "True");
          return h("li", {}, chip({ text: each.type, tone: well ? "good" : "bad" }), h("span", {}, each.message || each.reason), since(each.lastTransitionTime));
        })),
      ),
    );
  };
  const drawCharts = (node, here) => {
    const points = usage.nodePoints(name);
    const wanted = (field) => here.reduce((total, pod) => total + sum(pod[field]), 0);
    const of = (resource, format, field) => ({ limit: quantity(node.allocatable?.[resource]), note: `${format(wanted(field))} requested of ${format(quantity(node.allocatable?.[resource]))}` });
    cpu.update(points.map(({ at, cpu: value }) => ({ at, value })), of("cpu", cores, "cpuRequests"));
    memory.update(points.map(({ at, memory: value }) => ({ at, value })), of("memory", bytes, "memoryRequests"));
  };
  const ends = [nodes, pods, events, usage, state].map((each) => each.subscribe(draw));
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}
