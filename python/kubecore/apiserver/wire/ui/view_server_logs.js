// The API server's own recent words, `/logs`, and who wrote what, `/logs/writes`: asked for again every two seconds while they are
// looked at.

import { h } from "./dom.js";
import { clock } from "./format.js";
import { byPlural } from "./kinds.js";
import { reference, tabs } from "./parts.js";
import { partyName } from "./view_flow.js";

const INTERVAL_MILLISECONDS = 2000;
const ROWS_MAX = 2000;
const NEAR_THE_END_PIXELS = 40;

// Asks again and again until it is left; `ask` gives the rows that are new.
function followed(panel, state, output, ask) {
  const note = h("p", { class: "quiet-text", role: "status" }, "Reading…");
  panel.append(output, note);
  let timer = 0;
  let over = false;
  const filter = () => {
    const wanted = state.search.toLowerCase();
    for (const row of output.children) row.hidden = Boolean(wanted) && !row.textContent.toLowerCase().includes(wanted);
  };
  const read = async () => {
    try {
      const rows = await ask();
      const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < NEAR_THE_END_PIXELS;
      output.append(...rows);
      while (output.childElementCount > ROWS_MAX) output.firstElementChild.remove();
      filter();
      if (atEnd) output.scrollTop = output.scrollHeight;
      note.textContent = output.childElementCount ? "" : "Nothing yet.";
    } catch (error) {
      note.textContent = error.message;
      if (error.code === 403) return;
    }
    if (!over) timer = setTimeout(read, INTERVAL_MILLISECONDS);
  };
  read();
  const end = state.subscribe(filter);
  return () => {
    over = true;
    clearTimeout(timer);
    end();
  };
}

function lines({ api, state }, panel) {
  const output = h("div", { class: "log wrapped", tabindex: "0", role: "log", "aria-label": "Server log" });
  let after = 0;
  return followed(panel, state, output, async () => {
    const response = await api.fetch(`/logs?after=${after}`, { accept: "text/plain" });
    after = Number(response.headers.get("kubecore-last") ?? after);
    const text = await response.text();
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => h("div", { class: / (ERROR|CRITICAL) /.test(line) ? "bad" : / WARNING /.test(line) ? "busy" : "" }, line));
  });
}

function writes({ api, state }, panel) {
  const output = h("ol", { class: "flow-list writes", tabindex: "0", "aria-label": "Writes" });
  let after = 0;
  return followed(panel, state, output, async () => {
    const { writes: found } = await api.json(`/logs/writes?after=${after}`);
    return found.map(({ revision, time, user, agent, verb, resource, subresource, namespace, name }) => {
      after = Math.max(after, revision);
      const kind = byPlural(resource);
      const what = name && kind ? reference(kind.kind, namespace, name) : [resource, namespace, name].filter(Boolean).join(" ");
      return h(
        "li",
        {},
        h("time", {}, clock(time * 1000)),
        h("span", { class: "flow-revision" }, revision.toLocaleString("en")),
        h("span", { class: "flow-writer", title: user }, partyName(user, agent)),
        h("span", { class: "flow-what" }, h("span", { class: "flow-verb" }, verb), " ", what, subresource && h("span", { class: "flow-gist" }, ` ${subresource}`)),
      );
    });
  });
}

export function serverLogsView(context) {
  const shown = { Lines: lines, Writes: writes };
  const tabbed = tabs(Object.keys(shown), (name, panel) => shown[name](context, panel));
  context.main.append(tabbed.element);
  return tabbed.dispose;
}
