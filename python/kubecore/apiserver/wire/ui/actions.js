// What a user may do to an object: a button for each right that they have, asked of the server; none for those they have not.

import { h } from "./dom.js";
import { KINDS } from "./kinds.js";
import { dialog, toast } from "./parts.js";

const SCALED = ["deployments", "replicasets", "statefulsets", "replicationcontrollers"];
const RESTARTED = ["deployments", "statefulsets", "daemonsets"];
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";

const right = (kind, { namespace, name }) => ({ group: kind.group, resource: kind.plural, namespace: namespace ?? "", name });

async function attempt(what, work) {
  try {
    await work();
    toast(what);
  } catch (error) {
    toast(error.message, "bad");
  }
}

// A row of buttons that fills itself as the answers come.
export function actions(api, plural, object) {
  const row = h("div", { class: "buttons" });
  const kind = KINDS[plural];
  const { namespace, name } = object.metadata;
  const path = kind.path(namespace, name);
  const add = (label, run, tone = "") => row.append(h("button", { type: "button", class: `button ${tone}`, onclick: run }, label));

  const offers = [
    SCALED.includes(plural) && [["patch", { subresource: "scale" }], () => add("Scale…", () => scale(api, path, object))],
    RESTARTED.includes(plural) && [["patch", {}], () => add("Restart…", () => restart(api, path, name))],
    plural === "nodes" && [["patch", {}], () => add(object.unschedulable ? "Uncordon" : "Cordon", () => cordon(api, path, object))],
    plural !== "nodes" && [["delete", {}], () => add("Delete…", () => remove(api, kind, path, name), "danger")],
  ].filter(Boolean);
  Promise.all(offers.map(([[verb, more]]) => api.can(verb, { ...right(kind, object.metadata), ...more }))).then((allowed) => {
    offers.forEach(([, show], place) => allowed[place] && show());
    row.dataset.known = "yes";
  });
  return row;
}

async function scale(api, path, object) {
  const input = h("input", { type: "number", min: "0", max: "100000", value: object.replicas ?? 1, required: true, autofocus: true, "aria-label": "Replicas" });
  const sure = await dialog(`Scale ${object.metadata.name}`, h("label", { class: "field" }, "Replicas", input), { confirm: "Scale" });
  if (!sure) return;
  const replicas = Number(input.value);
  await attempt(`${object.metadata.name} is scaled to ${replicas}`, () => api.json(`${path}/scale`, { method: "PATCH", type: MERGE, body: { spec: { replicas } } }));
}

async function restart(api, path, name) {
  const sure = await dialog(`Restart ${name}`, h("p", {}, "Its pods are replaced one after another, as `kubectl rollout restart` does."), { confirm: "Restart" });
  if (!sure) return;
  const annotations = { "kubectl.kubernetes.io/restartedAt": new Date().toISOString() };
  await attempt(`${name} restarts`, () => api.json(path, { method: "PATCH", type: STRATEGIC, body: { spec: { template: { metadata: { annotations } } } } }));
}

async function remove(api, kind, path, name) {
  const sure = await dialog(`Delete ${kind.kind} ${name}`, h("p", {}, kind.kind === "Pod" ? "Whatever owns it may make another one." : "What it owns goes with it."), { confirm: "Delete", danger: true });
  if (!sure) return;
  await attempt(`${name} is being deleted`, () => api.json(path, { method: "DELETE", body: { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background" } }));
}

async function cordon(api, path, node) {
  const unschedulable = !node.unschedulable;
  await attempt(`${node.metadata.name} is ${unschedulable ? "cordoned" : "open for pods again"}`, () => api.json(path, { method: "PATCH", type: MERGE, body: { spec: { unschedulable } } }));
}
