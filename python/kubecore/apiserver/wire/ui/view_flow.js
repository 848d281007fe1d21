// The List-Watch flow as it happens. Changes come from the same watches that everybody uses; who wrote each revision is what the API
// server noted of its writes (`/logs/writes`); who watches is what it counts (`/metrics`). Without the right to read those two, the
// changes are shown alone.

import { h, onFrame, replace } from "./dom.js";
import { clock, nodeStatus, podStatus, progress } from "./format.js";
import { FlowPicture } from "./flow_picture.js";
import { reference } from "./parts.js";

const KINDS_SHOWN = ["pods", "nodes", "deployments", "replicasets", "replicationcontrollers", "statefulsets", "jobs", "services", "endpointslices", "events"];
const CHANGES_MAX = 400;
const ASK_AFTER_MILLISECONDS = 120;
const WATCHERS_EVERY_MILLISECONDS = 5000;
const TONES = { ADDED: "good", MODIFIED: "changed", DELETED: "bad" };
const VERBS = { ADDED: "made", MODIFIED: "changed", DELETED: "deleted" };

export function partyName(user, agent = "") {
  const account = /^system:serviceaccount:[^:]+:(.+)$/.exec(user);
  if (account) return account[1];
  if (user.startsWith("system:node:")) return `kubelet ${user.slice(12)}`;
  if (user === "system:kubecore:node-simulator") return "simulated nodes";
  if (user.startsWith("system:")) return user.slice(user.lastIndexOf(":") + 1);
  const product = agent.split(/[/ ]/)[0];
  return product && product !== user ? `${product === "Mozilla" ? "browser" : product} · ${user}` : user;
}

// `kubecore_watchers{resource="pods",watcher="kubectl"} 1.0` → watcher → resources
export function parseWatchers(text) {
  const found = new Map();
  for (const [, resource, watcher] of text.matchAll(/^kubecore_watchers\{resource="([^"]*)",watcher="([^"]*)"\}/gm)) {
    const name = watcher === "Mozilla" ? "this page" : partyName(watcher);
    if (!found.has(name)) found.set(name, new Set());
    found.get(name).add(resource);
  }
  return found;
}

// What a change was about, in a few words.
function gist({ type, object, before }) {
  if (type === "DELETED") return "";
  switch (object.kind) {
    case "Pod": {
      const now = podStatus(object).text;
      if (!before?.nodeName && object.nodeName && type === "MODIFIED") return `bound to ${object.nodeName}`;
      return before && podStatus(before).text === now ? "" : now;
    }
    case "Node":
      return before && nodeStatus(before).text === nodeStatus(object).text ? "" : nodeStatus(object).text;
    case "Event":
      return `${object.reason}: ${object.message ?? ""}`;
    case "EndpointSlice":
      return `${object.endpoints.filter((each) => each.ready !== false).length} ready`;
    case "Service":
      return object.type;
    default:
      return object.status ? `${progress(object).join(" / ")} ready` : "";
  }
}

export function flowView({ api, collections, state, main }) {
  const picture = new FlowPicture();
  const list = h("ol", { class: "flow-list", "aria-live": "off" });
  const note = h("p", { class: "quiet-text" });
  const paused = h("input", { type: "checkbox" });
  const withEvents = h("input", { type: "checkbox", onchange: () => draw() });
  main.append(
    h("div", { class: "card flow-card" }, picture.element),
    h("div", { class: "log-bar" }, h("label", { class: "check" }, paused, "Hold"), h("label", { class: "check" }, withEvents, "Also Events"), note),
    list,
  );
  const changes = [];
  const writers = new Map();
  let watchers = new Map();
  let waiting = [];
  let asked = 0;
  let after = 0;
  let timer = 0;
  let over = false;
  let maySeeWrites = true;

  const matches = ({ object, writer }) => (withEvents.checked || object.kind !== "Event") && state.matches(object, object.kind, writer, gist({ type: "", object }));
  const row = (change) => {
    const { type, kind, object, at, revision, writer } = change;
    const { namespace, name } = object.metadata;
    const heard = [...watchers].filter(([, resources]) => resources.has(kind.qualified)).map(([who]) => who);
    return h(
      "li",
      { class: TONES[type] },
      h("time", {}, clock(at)),
      h("span", { class: "flow-revision" }, revision.toLocaleString("en")),
      h("span", { class: "flow-writer" }, writer ?? "–"),
      h("span", { class: "flow-what" }, h("span", { class: "flow-verb" }, VERBS[type]), " ", reference(object.kind, namespace, name), " ", h("span", { class: "flow-gist" }, gist(change))),
      h("span", { class: "flow-heard", title: heard.join("\n") }, heard.length ? `→ ${heard.length} ${heard.length === 1 ? "watcher" : "watchers"}` : ""),
    );
  };
  const draw = onFrame(() => {
    if (!over && !paused.checked) replace(list, changes.filter(matches).slice(0, 120).map(row));
  });

  const show = () => {
    const ready = waiting;
    waiting = [];
    ready.sort((a, b) => a.revision - b.revision);
    for (const change of ready) {
      change.writer = writers.get(change.revision);
      changes.push(change);
      if (change.object.kind !== "Event" || withEvents.checked) picture.change({ writer: change.writer, resource: change.kind.qualified, revision: change.revision, tone: TONES[change.type] });
    }
    // Each kind has a watch of its own: what comes together is put back in the order in which it was written.
    changes.sort((a, b) => b.revision - a.revision);
    changes.length = Math.min(changes.length, CHANGES_MAX);
    draw();
  };
  const askWriters = async () => {
    asked = 0;
    if (maySeeWrites) {
      try {
        const { writes } = await api.json(`/logs/writes?after=${after}`);
        for (const { revision, user, agent } of writes) {
          after = Math.max(after, revision);
          writers.set(revision, partyName(user, agent));
        }
        for (const revision of [...writers.keys()].slice(0, -4000)) writers.delete(revision);
      } catch (error) {
        maySeeWrites = false;
        note.textContent = `Who writes is not shown: ${error.message}`;
      }
    }
    if (!over) show();
  };
  const hear = (change) => {
    if (!KINDS_SHOWN.includes(change.kind.plural)) return;
    waiting.push({ ...change, revision: Number(change.object.metadata.resourceVersion) });
    if (!asked) asked = setTimeout(askWriters, ASK_AFTER_MILLISECONDS);
  };
  const askWatchers = async () => {
    try {
      watchers = parseWatchers(await api.text("/metrics"));
      picture.setWatchers(watchers);
      draw();
    } catch (error) {
      note.textContent = `Who watches is not shown: ${error.message}`;
      return;
    }
    if (!over) timer = setTimeout(askWatchers, WATCHERS_EVERY_MILLISECONDS);
  };
  const ends = [...KINDS_SHOWN.map((plural) => collections.of(plural).subscribe(() => {})), collections.tap(hear), state.subscribe(draw)];
  replace(list, h("li", { class: "quiet-text" }, "Waiting for the next change…"));
  askWatchers();
  return () => {
    over = true;
    clearTimeout(timer);
    clearTimeout(asked);
    picture.stop();
    ends.forEach((end) => end());
  };
}
