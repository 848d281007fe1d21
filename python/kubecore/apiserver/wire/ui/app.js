// The shell: who is signed in, where we are, and the view for it. Places are in the fragment; a token that comes there is taken out
// of it before anything else happens.

import { Api } from "./api.js";
import { Collections } from "./collections.js";
import { h, icon, replace } from "./dom.js";
import { dialog } from "./parts.js";
import { Usage } from "./usage.js";
import { eventsView } from "./view_events.js";
import { flowView } from "./view_flow.js";
import { nodeView, nodesView } from "./view_nodes.js";
import { overviewView } from "./view_overview.js";
import { podView, podsView } from "./view_pods.js";
import { serverLogsView } from "./view_server_logs.js";
import { servicesView } from "./view_services.js";
import { workloadView, workloadsView } from "./view_workloads.js";

const PLACES = [
  { name: "overview", title: "Overview", key: "o", view: overviewView },
  { name: "nodes", title: "Nodes", key: "n", view: nodesView, detail: nodeView },
  { name: "workloads", title: "Workloads", key: "w", view: workloadsView, detail: workloadView },
  { name: "pods", title: "Pods", key: "p", view: podsView, detail: podView },
  { name: "services", title: "Services", key: "s", view: servicesView },
  { name: "events", title: "Events", key: "e", view: eventsView },
  { name: "flow", title: "Flow", key: "f", view: flowView },
  { name: "logs", title: "Server log", key: "l", view: serverLogsView },
];
const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "kubecore.theme";

const api = new Api();
let collections = new Collections(api);
let usage = new Usage(api);
let leave = null;
let shell = null;

const state = {
  namespace: "",
  search: "",
  listeners: new Set(),
  // Whether a view should show this object.
  matches(object, ...texts) {
    const { namespace, name } = object.metadata;
    if (this.namespace && namespace && namespace !== this.namespace) return false;
    if (!this.search) return true;
    const haystack = [name, namespace, ...texts].join(" ").toLowerCase();
    return this.search
      .toLowerCase()
      .split(/\s+/)
      .every((word) => haystack.includes(word));
  },
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  },
  set(change) {
    Object.assign(this, change);
    for (const listener of this.listeners) listener();
  },
};

function takeToken() {
  const match = /^#token=([^&]+)/.exec(location.hash);
  if (!match) return;
  api.token = decodeURIComponent(match[1]);
  history.replaceState(null, "", `${location.pathname}#/overview`);
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

async function start() {
  applyTheme(localStorage.getItem(THEME_KEY) ?? "auto");
  takeToken();
  try {
    const user = await api.whoAmI();
    if (user.username === "system:anonymous") throw new Error("");
    await openShell(user);
  } catch (error) {
    signIn(error.message);
  }
}

function signIn(message) {
  leave?.();
  leave = null;
  shell = null;
  collections.stop();
  const input = h("textarea", { rows: "5", spellcheck: "false", autocomplete: "off", required: true, id: "token", placeholder: "eyJhbGciOi…" });
  const form = h(
    "form",
    { class: "sign-in card" },
    h("div", { class: "brand" }, h("span", { class: "mark" }), "kubecore"),
    h("p", {}, "Paste a bearer token. It stays in this tab, and everything here is done with it: you see and change what its user may."),
    h("label", { class: "field", for: "token" }, "Token"),
    input,
    message && api.token && h("p", { class: "notice bad", role: "alert" }, message),
    h("button", { class: "button primary" }, "Sign in"),
    h("p", { class: "quiet-text" }, "From a terminal, ", h("code", {}, "kubecore ui"), " opens this page signed in; ", h("code", {}, "kubectl create token NAME"), " makes a token of a service account."),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.token = input.value.trim();
    start();
  });
  replace(document.getElementById("app"), form);
  document.title = "Sign in · kubecore";
  input.focus();
}

async function openShell(user) {
  collections = new Collections(api);
  usage = new Usage(api);
  const version = await api.json("/version").catch(() => ({ gitVersion: "" }));
  const links = PLACES.map(({ name, title, key }) =>
    h("a", { href: `#/${name}`, dataset: { place: name }, title: `${title} (g ${key})` }, icon(name), h("span", {}, title)),
  );
  const namespaces = h("select", { "aria-label": "Namespace", onchange: (event) => state.set({ namespace: event.target.value }) });
  const search = h("input", { type: "search", placeholder: "Search  /", "aria-label": "Search", oninput: (event) => state.set({ search: event.target.value.trim() }) });
  const live = h("span", { class: "live", role: "status" });
  const heading = h("h1", {});
  const main = h("main", { id: "main", tabindex: "-1" });
  shell = { links, search, namespaces, live, heading, main };
  replace(
    document.getElementById("app"),
    h(
      "div",
      { class: "shell" },
      h(
        "nav",
        { class: "rail", "aria-label": "Places" },
        h("a", { class: "brand", href: "#/overview" }, h("span", { class: "mark" }), h("span", {}, "kubecore")),
        links,
        h("div", { class: "rail-end" }, h("button", { type: "button", class: "rail-button", title: "Theme", onclick: changeTheme }, icon("theme"), h("span", { class: "theme-name" }, localStorage.getItem(THEME_KEY) ?? "auto")), h("button", { type: "button", class: "rail-button user", title: `${user.username}: sign out`, onclick: () => signOut(user) }, icon("user"), h("span", {}, user.username.slice(user.username.lastIndexOf(":") + 1))), h("p", { class: "version" }, version.gitVersion)),
      ),
      h("div", { class: "page" }, h("header", { class: "bar" }, heading, live, namespaces, search), main),
    ),
  );
  fillNamespaces(namespaces);
  collections.tap(showHealth);
  setInterval(showHealth, 1000);
  go();
}

function fillNamespaces(select) {
  const all = collections.of("namespaces");
  all.subscribe(() => {
    const names = [...all.items.keys()].sort();
    // Who may not list namespaces can still look at all that they may, or search for one.
    replace(select, h("option", { value: "" }, "All namespaces"), names.map((name) => h("option", { value: name }, name)));
    select.value = state.namespace;
  });
}

function showHealth() {
  if (!shell) return;
  const health = collections.health;
  shell.live.className = `live ${health}`;
  shell.live.textContent = { live: "live", loading: "loading", broken: "reconnecting" }[health] ?? "";
}

function changeTheme(event) {
  const now = localStorage.getItem(THEME_KEY) ?? "auto";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  localStorage.setItem(THEME_KEY, next);
  applyTheme(next);
  event.currentTarget.querySelector("span").textContent = next;
}

async function signOut(user) {
  const groups = h("p", { class: "quiet-text" }, (user.groups ?? []).join(", "));
  const sure = await dialog(user.username, groups, { confirm: "Sign out" });
  if (!sure) return;
  api.token = "";
  signIn("");
}

// Shows the view of the place in the fragment: `#/pods`, `#/pods/NAMESPACE/NAME`.
function go() {
  if (!shell) return;
  const [name, ...rest] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  const place = PLACES.find((each) => each.name === name) ?? PLACES[0];
  leave?.();
  for (const anchor of shell.links) {
    if (anchor.dataset.place === place.name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const detail = rest.length > 0 && place.detail;
  shell.heading.textContent = place.title;
  document.title = `${detail ? rest[rest.length - 1] : place.title} · kubecore`;
  shell.main.className = `view-${place.name}${detail ? " detail" : ""}`;
  shell.main.scrollTop = 0;
  replace(shell.main);
  const context = { api, collections, usage, state, main: shell.main };
  leave = (detail ? place.detail : place.view)(context, ...rest) ?? null;
}

let waitsForPlace = false;
function onKey(event) {
  if (!shell || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) {
    if (event.key === "Escape" && event.target === shell.search) shell.search.blur();
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    shell.search.focus();
  } else if (waitsForPlace) {
    waitsForPlace = false;
    const place = PLACES.find(({ key }) => key === event.key);
    if (place) location.hash = `#/${place.name}`;
  } else if (event.key === "g") {
    waitsForPlace = true;
    setTimeout(() => (waitsForPlace = false), 1500);
  } else if (event.key === "Escape" && shell.main.classList.contains("detail")) {
    location.hash = `#/${location.hash.split("/")[1]}`;
  }
}

api.onRefused = (error) => shell && signIn(error.message);
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) {
    takeToken();
    start();
  } else {
    go();
  }
});
addEventListener("keydown", onKey);
start();
