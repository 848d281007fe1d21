// Pods: the list that holds ten thousand, and one pod with its containers, figures, logs and events.

import { actions } from "./actions.js";
import { Chart } from "./chart.js";
import { h, onFrame, replace } from "./dom.js";
import { bytes, cores, podStatus, readyContainers, restarts, sum } from "./format.js";
import { KINDS } from "./kinds.js";
import { ageOf, card, chip, eventRows, facts, labels, link, listState, reference, since, tabs } from "./parts.js";
import { logPanel } from "./pod_log.js";
import { Table } from "./table.js";

const where = (pod) => `#/pods/${encodeURIComponent(pod.metadata.namespace)}/${encodeURIComponent(pod.metadata.name)}`;

export function podColumns(usage) {
  const used = (pod) => usage.pod(pod.metadata.namespace, pod.metadata.name);
  return [
    { title: "Name", width: "minmax(15rem, 3fr)", value: (pod) => pod.metadata.name, cell: (pod) => link(where(pod), pod.metadata.name) },
    { title: "Namespace", width: "minmax(5.5rem, 0.8fr)", cell: (pod) => pod.metadata.namespace },
    { title: "Status", width: "minmax(7.5rem, 10rem)", value: (pod) => podStatus(pod).text, cell: (pod) => chip(podStatus(pod)) },
    { title: "Ready", width: "4rem", align: "number", cell: readyContainers },
    { title: "Restarts", width: "5rem", align: "number", value: restarts, cell: (pod) => String(restarts(pod)) },
    { title: "CPU", width: "4.5rem", align: "number", value: (pod) => used(pod)?.cpu ?? -1, cell: (pod) => cores(used(pod)?.cpu) },
    { title: "Memory", width: "6rem", align: "number", value: (pod) => used(pod)?.memory ?? -1, cell: (pod) => bytes(used(pod)?.memory) },
    { title: "Node", width: "minmax(5rem, 0.8fr)", value: (pod) => pod.nodeName, cell: (pod) => (pod.nodeName ? link(`#/nodes/${encodeURIComponent(pod.nodeName)}`, pod.nodeName) : "–") },
    { title: "Age", width: "4rem", align: "number", value: ageOf, cell: (pod) => since(ageOf(pod)) },
  ];
}

export function podsView({ collections, usage, state, main }) {
  const pods = collections.of("pods");
  const notice = h("div", {});
  const counted = h("p", { class: "counted", role: "status" });
  const table = new Table({ label: "Pods", columns: podColumns(usage), key: (pod) => pod.metadata.uid, open: (pod) => (location.hash = where(pod)), empty: "No pods match." });
  main.append(notice, counted, table.element);
  const draw = onFrame(() => {
    replace(notice, listState(pods));
    const shown = [...pods.items.values()].filter((pod) => state.matches(pod, podStatus(pod).text, pod.nodeName, pod.podIP));
    counted.textContent = shown.length === pods.items.size ? `${shown.length.toLocaleString("en")} pods` : `${shown.length.toLocaleString("en")} of ${pods.items.size.toLocaleString("en")} pods`;
    table.update(shown);
  });
  const ends = [pods.subscribe(draw), usage.subscribe(draw), state.subscribe(draw)];
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}

function containerState({ state = {} } = {}) {
  if (state.running) return { text: "Running", tone: "good", since: state.running.startedAt };
  if (state.terminated) {
    const { exitCode, reason, finishedAt } = state.terminated;
    return { text: `${reason ?? "Ended"} (${exitCode})`, tone: exitCode ? "bad" : "quiet", since: finishedAt };
  }
  const reason = state.waiting?.reason ?? "Waiting";
  return { text: reason, tone: /Err|BackOff/.test(reason) ? "bad" : "busy", message: state.waiting?.message };
}

function containerCard(container, status, used, init) {
  const now = containerState(status);
  const last = status?.lastState?.terminated;
  return h(
    "article",
    { class: "container" },
    h("header", {}, h("h3", {}, container.name), init && h("span", { class: "tag" }, container.restartPolicy === "Always" ? "sidecar" : "init"), chip(now), now.tone === "good" && !status?.ready && !init && h("span", { class: "tag" }, "not ready")),
    h("p", { class: "image" }, container.image),
    now.message && h("p", { class: "notice bad" }, now.message),
    facts([
      ["Uses", used && `${cores(used.cpu)}, ${bytes(used.memory)}`],
      ["Restarts", status?.restartCount ? String(status.restartCount) : undefined],
      ["Last ended", last && `${last.reason ?? "exit"} (${last.exitCode})`],
      ["Ports", (container.ports ?? []).map(({ containerPort, protocol }) => `${containerPort}/${protocol ?? "TCP"}`).join(", ")],
      ["Since", now.since && since(now.since)],
    ]),
  );
}

export function podView({ api, collections, usage, main }, namespace, name) {
  const pods = collections.of("pods");
  const events = collections.of("events");
  const nodes = collections.of("nodes");
  const key = `${namespace}/${name}`;
  const head = h("div", { class: "detail-head" });
  const cpu = new Chart({ title: "Processor", format: cores, tone: "cpu" });
  const memory = new Chart({ title: "Memory", format: bytes, tone: "memory" });
  const containers = h("div", { class: "containers" });
  const overview = h("div", { class: "columns" });
  const eventBox = h("div", {});
  let uid = null;

  const panels = {
    Containers: (panel) => void panel.append(containers, h("div", { class: "charts" }, cpu.element, memory.element), overview),
    Logs: (panel) => logPanel(api, panel, () => pods.items.get(key)),
    Events: (panel) => void panel.append(eventBox),
    Object: (panel) => {
      const text = h("pre", { class: "object", tabindex: "0" }, "Loading…");
      panel.append(text);
      api.json(KINDS.pods.path(namespace, name)).then(
        (object) => {
          delete object.metadata.managedFields;
          text.textContent = JSON.stringify(object, null, 2);
        },
        (error) => (text.textContent = error.message),
      );
    },
  };
  const tabbed = tabs(Object.keys(panels), (chosen, panel) => panels[chosen](panel));
  main.append(head, tabbed.element);

  const draw = onFrame(() => {
    const pod = pods.items.get(key);
    if (!pod) {
      replace(head, link("#/pods", "← Pods"), h("h2", {}, name), listState(pods) ?? h("p", { class: "notice" }, "This pod is gone."));
      return;
    }
    const status = podStatus(pod);
    if (head.dataset.status !== status.text + pod.metadata.uid) {
      head.dataset.status = status.text + pod.metadata.uid;
      replace(head, link("#/pods", "← Pods"), h("h2", {}, name), chip(status), h("span", { class: "grow" }), actions(api, "pods", pod));
    }
    const node = nodes.items.get(pod.nodeName);
    if (uid !== pod.metadata.uid && node && !node.metadata.simulated) {
      uid = pod.metadata.uid;
      usage.seed(`pod/${key}`, pod.nodeName, uid);
    }
    drawContainers(pod);
    replace(eventBox, eventRows([...events.items.values()].filter(({ about }) => about?.uid === pod.metadata.uid || (about?.kind === "Pod" && about.namespace === namespace && about.name === name))));
    const points = usage.podPoints(namespace, name);
    const asked = (field, format) => (pod[field].length ? { limit: sum(pod[field]), note: `${format(sum(pod[field]))} requested` } : {});
    cpu.update(points.map(({ at, cpu: value }) => ({ at, value })), asked("cpuRequests", cores));
    memory.update(points.map(({ at, memory: value }) => ({ at, value })), asked("memoryRequests", bytes));
  });
  const drawContainers = (pod) => {
    const used = usage.pod(namespace, name)?.containers;
    const statusOf = (statuses, container) => (statuses ?? []).find((status) => status.name === container.name);
    replace(
      containers,
      pod.initContainers.map((each) => containerCard(each, statusOf(pod.initContainerStatuses, each), used?.get(each.name), true)),
      pod.containers.map((each) => containerCard(each, statusOf(pod.containerStatuses, each), used?.get(each.name), false)),
    );
    const { owner } = pod.metadata;
    replace(
      overview,
      card(
        "Pod",
        facts([
          ["Namespace", namespace],
          ["Node", pod.nodeName ? link(`#/nodes/${encodeURIComponent(pod.nodeName)}`, pod.nodeName) : "not scheduled yet"],
          ["Address", pod.podIP],
          ["Made by", owner && reference(owner.kind, namespace, owner.name)],
          ["Quality of service", pod.qosClass],
          ["Created", since(ageOf(pod))],
          ["Message", pod.message],
          ["Labels", labels(pod.metadata.labels)],
        ]),
      ),
      card("Conditions", h("ul", { class: "conditions" }, (pod.conditions ?? []).map((each) => h("li", {}, chip({ text: each.type, tone: each.status === "True" ? "good" : "busy" }), h("span", {}, each.message || each.reason), since(each.lastTransitionTime))))),
    );
  };
  const ends = [pods, events, nodes, usage].map((each) => each.subscribe(draw));
  return () => {
    ends.forEach((end) => end());
    tabbed.dispose();
  };
}

