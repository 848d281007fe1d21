// Small parts that several views share.

import { h, replace } from "./dom.js";
import { age } from "./format.js";
import { KINDS, WORKLOADS } from "./kinds.js";

export const chip = ({ text, tone }) => h("span", { class: `chip ${tone}` }, h("span", { class: "chip-dot" }), text);

export const link = (href, ...children) => h("a", { href }, ...children);

export const ageOf = (object) => object.metadata.creationTimestamp;

export const since = (timestamp) => h("time", { datetime: timestamp, title: timestamp }, age(timestamp));

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), ...children);
}

export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

export const labels = (map) =>
  Object.keys(map ?? {}).length > 0 &&
  h("span", { class: "labels" }, Object.entries(map ?? {}).map(([name, value]) => h("code", {}, value ? `${name}=${value}` : name)));

// Where an object is shown, by its kind; undefined if nowhere.
export function placeOf(kind, namespace, name) {
  const where = encodeURIComponent;
  if (kind === "Node") return `#/nodes/${where(name)}`;
  if (kind === "Pod") return `#/pods/${where(namespace)}/${where(name)}`;
  const plural = WORKLOADS.find((each) => KINDS[each].kind === kind);
  return plural && `#/workloads/${plural}/${where(namespace)}/${where(name)}`;
}

export function reference(kind, namespace, name) {
  const place = placeOf(kind, namespace, name);
  const text = `${kind}/${name}`;
  return place ? link(place, text) : h("span", {}, text);
}

// The state of a list: nothing while it is live, else why there is nothing, or not yet everything.
export function listState(collection) {
  switch (collection.state) {
    case "loading":
      return h("p", { class: "notice" }, collection.remaining ? `Loading: ${collection.remaining.toLocaleString("en")} to come…` : "Loading…");
    case "refused":
      return h("p", { class: "notice bad", role: "alert" }, collection.error.message);
    case "broken":
      return h("p", { class: "notice busy", role: "status" }, `The connection broke; trying again. (${collection.error.message})`);
    default:
      return null;
  }
}

export function eventRows(events, { about = false, limit = 200, compact = false } = {}) {
  const sorted = [...events].sort((a, b) => Date.parse(b.last) - Date.parse(a.last)).slice(0, limit);
  if (!sorted.length) return h("p", { class: "quiet-text" }, "No events.");
  return h(
    "ol",
    { class: compact ? "event-list compact" : "event-list" },
    sorted.map((event) =>
      h(
        "li",
        { class: event.type === "Warning" ? "warning" : "" },
        since(event.last),
        h(
          "div",
          {},
          h("strong", {}, event.reason),
          event.count > 1 && h("span", { class: "times" }, ` ×${event.count}`),
          about && [" ", reference(event.about.kind, event.about.namespace, event.about.name)],
          h("p", {}, event.message),
        ),
        h("span", { class: "source" }, event.source),
      ),
    ),
  );
}

export function tabs(names, show) {
  const panel = h("div", { class: "tab-panel", role: "tabpanel", tabindex: "0" });
  const bar = h("div", { class: "tabs", role: "tablist" });
  let leave = null;
  const choose = (name) => {
    for (const button of bar.children) {
      button.setAttribute("aria-selected", String(button.dataset.name === name));
      button.tabIndex = button.dataset.name === name ? 0 : -1;
    }
    leave?.();
    replace(panel);
    leave = show(name, panel) ?? null;
  };
  for (const name of names) bar.append(h("button", { type: "button", role: "tab", dataset: { name }, onclick: () => choose(name) }, name));
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const place = names.indexOf(document.activeElement?.dataset?.name);
    const next = bar.children[(place + step + names.length) % names.length];
    next.focus();
    choose(next.dataset.name);
  });
  choose(names[0]);
  return { element: h("div", { class: "tabbed" }, bar, panel), choose, dispose: () => leave?.() };
}

export function dialog(title, body, { confirm, danger = false } = {}) {
  return new Promise((resolve) => {
    const element = h(
      "dialog",
      { class: "dialog", "aria-label": title },
      h(
        "form",
        { method: "dialog" },
        h("h2", {}, title),
        body,
        h("div", { class: "buttons" }, h("button", { value: "no", class: "button" }, "Cancel"), confirm && h("button", { value: "yes", class: `button ${danger ? "danger" : "primary"}` }, confirm)),
      ),
    );
    element.addEventListener("close", () => {
      element.remove();
      resolve(element.returnValue === "yes");
    });
    document.body.append(element);
    element.showModal();
  });
}

export function toast(text, tone = "good") {
  const element = h("div", { class: `toast ${tone}`, role: tone === "bad" ? "alert" : "status" }, text);
  document.body.append(element);
  setTimeout(() => element.remove(), tone === "bad" ? 8000 : 4000);
}
