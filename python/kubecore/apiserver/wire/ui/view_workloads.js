// What makes pods: Deployments, StatefulSets, DaemonSets, Jobs, and what Deployments and CronJobs make.

import { actions } from "./actions.js";
import { Chart, meter } from "./chart.js";
import { h, onFrame, replace } from "./dom.js";
import { bytes, cores, podStatus, progress, sum, workloadStatus } from "./format.js";
import { KINDS, WORKLOADS } from "./kinds.js";
import { ageOf, card, chip, eventRows, facts, labels, link, listState, placeOf, reference, since } from "./parts.js";
import { Table } from "./table.js";
import { podColumns } from "./view_pods.js";

export function workloadsView({ collections, state, main }) {
  const all = WORKLOADS.map((plural) => collections.of(plural));
  let withOwned = false;
  const notice = h("div", {});
  const owned = h("input", { type: "checkbox", onchange: () => ((withOwned = owned.checked), draw()) });
  const table = new Table({
    label: "Workloads",
    key: (workload) => workload.metadata.uid,
    open: (workload) => (location.hash = placeOf(workload.kind, workload.metadata.namespace, workload.metadata.name)),
    empty: "No workloads match.",
    columns: [
      { title: "Name", width: "minmax(10rem, 2fr)", value: ({ metadata }) => metadata.name, cell: ({ kind, metadata }) => link(placeOf(kind, metadata.namespace, metadata.name), metadata.name) },
      { title: "Kind", width: "minmax(8rem, 1fr)", cell: ({ kind }) => kind },
      { title: "Namespace", width: "minmax(6rem, 1fr)", cell: ({ metadata }) => metadata.namespace },
      { title: "Status", width: "9rem", value: (workload) => workloadStatus(workload).text, cell: (workload) => chip(workloadStatus(workload)) },
      { title: "Ready", width: "minmax(7rem, 1fr)", value: (workload) => progress(workload)[0], cell: ready },
      { title: "Images", width: "minmax(8rem, 2fr)", cell: ({ images }) => h("span", { class: "image" }, images.join(", ")) },
      { title: "Age", width: "5rem", align: "number", value: ageOf, cell: (workload) => since(ageOf(workload)) },
    ],
  });
  main.append(notice, h("label", { class: "check" }, owned, "Also those that belong to another"), table.element);
  const draw = onFrame(() => {
    replace(notice, all.map(listState).find(Boolean));
    const shown = all.flatMap((collection) => [...collection.items.values()]);
    table.update(shown.filter((workload) => (withOwned || !workload.metadata.owner) && state.matches(workload, workload.kind, workload.images.join(" "), workloadStatus(workload).text)));
  });
  const ends = [...all, state].map((each) => each.subscribe(draw));
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}

function ready(workload) {
  const [now, wanted] = progress(workload);
  const bar = meter(wanted ? now / wanted : undefined, `${now} / ${wanted}`);
  bar.classList.remove("bad", "busy");
  bar.classList.add(now >= wanted ? "good" : "busy");
  return bar;
}

export function workloadView({ api, collections, usage, state, main }, plural, namespace, name) {
  const kind = KINDS[plural];
  if (!kind) {
    main.append(h("p", { class: "notice" }, `There is no kind ${plural}.`));
    return null;
  }
  const own = collections.of(plural);
  const replicaSets = collections.of("replicasets");
  const pods = collections.of("pods");
  const events = collections.of("events");
  const head = h("div", { class: "detail-head" });
  const details = h("div", { class: "columns" });
  const eventBox = h("div", {});
  const table = new Table({ label: `Pods of ${name}`, key: (pod) => pod.metadata.uid, open: (pod) => (location.hash = placeOf("Pod", namespace, pod.metadata.name)), empty: "It has no pods.", columns: podColumns(usage).filter(({ title }) => title !== "Namespace") });
  const podCard = card("Pods", table.element);
  podCard.classList.add("table-card");
  const cpu = new Chart({ title: "Processor", format: cores, tone: "cpu" });
  const memory = new Chart({ title: "Memory", format: bytes, tone: "memory" });
  const key = `${plural}/${namespace}/${name}`;
  main.append(head, details, h("div", { class: "charts" }, cpu.element, memory.element), podCard, card("Events", eventBox));

  const draw = onFrame(() => {
    const workload = own.items.get(`${namespace}/${name}`);
    if (!workload) {
      replace(head, link("#/workloads", "← Workloads"), h("h2", {}, name), listState(own) ?? h("p", { class: "notice" }, `${kind.kind} ${name} is gone.`));
      return;
    }
    const status = workloadStatus(workload);
    const version = `${status.text} ${workload.replicas}`;
    if (head.dataset.status !== version) {
      head.dataset.status = version;
      replace(head, link("#/workloads", "← Workloads"), h("h2", {}, name), h("span", { class: "tag" }, kind.kind), chip(status), h("span", { class: "grow" }), actions(api, plural, workload));
    }
    const makers = new Set([workload.metadata.uid]);
    const sets = plural === "deployments" ? [...replicaSets.items.values()].filter(({ metadata }) => metadata.owner?.uid === workload.metadata.uid) : [];
    for (const set of sets) makers.add(set.metadata.uid);
    const made = [...pods.items.values()].filter(({ metadata }) => makers.has(metadata.owner?.uid));
    table.update(made.filter((pod) => state.matches(pod, podStatus(pod).text)));
    podCard.querySelector("h2").textContent = `Pods (${made.length})`;
    drawCharts(made);
    replace(
      details,
      card(
        kind.kind,
        facts([
          ["Namespace", namespace],
          ["Ready", ready(workload)],
          ["Images", h("span", { class: "image" }, workload.images.join(", "))],
          ["Strategy", workload.strategy],
          ["Schedule", workload.schedule],
          ["Made by", workload.metadata.owner && reference(workload.metadata.owner.kind, namespace, workload.metadata.owner.name)],
          ["Selects", labels(workload.selector)],
          ["Created", since(ageOf(workload))],
        ]),
      ),
      sets.length
        ? card("Revisions", h("ul", { class: "conditions" }, sets.sort((a, b) => ageOf(b).localeCompare(ageOf(a))).map((set) => h("li", {}, link(placeOf("ReplicaSet", namespace, set.metadata.name), set.metadata.name), h("span", { class: "image" }, set.images.join(", ")), h("span", {}, `${set.status.readyReplicas ?? 0} / ${set.replicas ?? 0}`)))))
        : card("Conditions", h("ul", { class: "conditions" }, (workload.status.conditions ?? []).map((each) => h("li", {}, chip({ text: each.type, tone: each.status === "True" ? "good" : "quiet" }), h("span", {}, each.message || each.reason))))),
    );
    const about = new Set([workload.metadata.uid, ...sets.map(({ metadata }) => metadata.uid)]);
    replace(eventBox, eventRows([...events.items.values()].filter((event) => about.has(event.about?.uid))));
  });
  const drawCharts = (made) => {
    const points = usage.together(key, made);
    const asked = (field, format) => {
      const total = made.reduce((all, pod) => all + sum(pod[field]), 0);
      return total ? { limit: total, note: `${format(total)} requested` } : {};
    };
    cpu.update(points.map(({ at, cpu: value }) => ({ at, value })), asked("cpuRequests", cores));
    memory.update(points.map(({ at, memory: value }) => ({ at, value })), asked("memoryRequests", bytes));
  };
  const ends = [own, replicaSets, pods, events, usage, state].map((each) => each.subscribe(draw));
  return () => {
    ends.forEach((end) => end());
    usage.forget(key);
    table.dispose();
  };
}
