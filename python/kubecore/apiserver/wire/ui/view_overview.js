// The whole cluster at a glance: what is ready, what is not, what it uses, what went wrong lately.

import { Chart } from "./chart.js";
import { h, onFrame, replace } from "./dom.js";
import { bytes, cores, count, nodeStatus, podStatus, quantity, workloadStatus } from "./format.js";
import { card, eventRows, link, listState } from "./parts.js";

const LATELY_MILLISECONDS = 60 * 60 * 1000;
const TONES = ["good", "busy", "bad", "quiet"];
const WORDS = { good: "running", busy: "on their way", bad: "failing", quiet: "done" };

function tally(items, status) {
  const counts = { good: 0, busy: 0, bad: 0, quiet: 0 };
  for (const item of items) counts[status(item).tone] += 1;
  return counts;
}

function figure(href, title, counts, words = WORDS) {
  const total = TONES.reduce((all, tone) => all + counts[tone], 0);
  const bar = h("div", { class: "stack", "aria-hidden": "true" });
  for (const tone of TONES) {
    if (!counts[tone]) continue;
    const part = h("span", { class: tone });
    part.style.setProperty("flex-grow", counts[tone]);
    bar.append(part);
  }
  return link(
    href,
    h("span", { class: "figure-title" }, title),
    h("span", { class: "figure-number" }, count(total)),
    bar,
    h("span", { class: "legend" }, TONES.filter((tone) => counts[tone]).map((tone) => h("span", { class: tone }, `${count(counts[tone])} ${words[tone]}`))),
  );
}

export function overviewView({ collections, usage, main }) {
  const nodes = collections.of("nodes");
  const pods = collections.of("pods");
  const deployments = collections.of("deployments");
  const events = collections.of("events");
  const figures = h("div", { class: "figures" });
  const cpu = new Chart({ title: "Processor", format: cores, tone: "cpu" });
  const memory = new Chart({ title: "Memory", format: bytes, tone: "memory" });
  const warnings = h("div", {});
  const charts = h("div", { class: "charts" }, cpu.element, memory.element);
  const latest = h("div", {});
  main.append(figures, charts, h("div", { class: "columns" }, card("Warnings of the last hour", warnings), card("Latest events", latest)));

  let seeded = false;
  const draw = onFrame(() => {
    if (!seeded && nodes.state === "live") {
      seeded = true;
      const real = [...nodes.items.values()].filter((node) => !node.metadata.simulated);
      if (real.length && real.length === nodes.items.size) usage.seedTotal(real.map((node) => node.metadata.name));
    }
    replace(
      figures,
      [nodes, pods, deployments].map((each) => each.state === "refused" && listState(each)),
      figure("#/nodes", "Nodes", tally(nodes.items.values(), nodeStatus), { good: "ready", busy: "cordoned or pressed", bad: "not ready", quiet: "" }),
      figure("#/pods", "Pods", tally(pods.items.values(), podStatus)),
      figure("#/workloads", "Deployments", tally(deployments.items.values(), workloadStatus), { good: "available", busy: "progressing", bad: "stuck", quiet: "scaled to 0" }),
    );
    const late = Date.now() - LATELY_MILLISECONDS;
    const bad = [...events.items.values()].filter((event) => event.type === "Warning" && Date.parse(event.last) > late);
    replace(warnings, listState(events) ?? (bad.length ? eventRows(bad, { about: true, limit: 50 }) : h("p", { class: "quiet-text" }, "None. All is calm.")));
    replace(latest, eventRows([...events.items.values()].filter((event) => event.type !== "Warning"), { about: true, limit: 10, compact: true }));
    drawCharts();
  });
  const drawCharts = () => {
    const offered = (resource) => [...nodes.items.values()].reduce((total, node) => total + quantity(node.allocatable?.[resource]), 0);
    const points = usage.totalPoints;
    const note = usage.available === false ? "metrics are not available" : "";
    cpu.update(points.map(({ at, cpu: value }) => ({ at, value })), { limit: offered("cpu"), note: note || `of ${cores(offered("cpu"))} cores` });
    memory.update(points.map(({ at, memory: value }) => ({ at, value })), { limit: offered("memory"), note: note || `of ${bytes(offered("memory"))}` });
  };
  const ends = [...[nodes, pods, deployments, events].map((each) => each.subscribe(draw)), usage.subscribe(drawCharts)];
  return () => ends.forEach((end) => end());
}
