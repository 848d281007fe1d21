// A container's log: the last lines, then each as it is written. At most LINES_MAX are kept; the oldest go.

import { h, replace } from "./dom.js";
import { KINDS } from "./kinds.js";

const LINES_MAX = 5000;
const TAIL_LINES = 500;
const NEAR_THE_END_PIXELS = 40;

export function logPanel(api, panel, podNow) {
  const pod = podNow();
  if (!pod) return null;
  const { namespace, name } = pod.metadata;
  const names = [...pod.containers, ...pod.initContainers].map((each) => each.name);
  const select = h("select", { "aria-label": "Container" }, names.map((each) => h("option", { value: each }, each)));
  const box = (label) => {
    const input = h("input", { type: "checkbox" });
    return [input, h("label", { class: "check" }, input, label)];
  };
  const [follow, followLabel] = box("Follow");
  const [previous, previousLabel] = box("Previous");
  const [times, timesLabel] = box("Timestamps");
  const [wrap, wrapLabel] = box("Wrap");
  const filter = h("input", { type: "search", placeholder: "Only lines with…", "aria-label": "Only lines with" });
  const output = h("div", { class: "log", tabindex: "0", role: "log", "aria-label": `Log of ${name}` });
  const state = h("p", { class: "quiet-text", role: "status" });
  follow.checked = true;
  panel.append(h("div", { class: "log-bar" }, select, followLabel, previousLabel, timesLabel, wrapLabel, filter), output, state);
  let abort = null;

  const shown = (line) => !filter.value || line.toLowerCase().includes(filter.value.toLowerCase());
  const add = (lines) => {
    const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < NEAR_THE_END_PIXELS;
    for (const line of lines) {
      const row = h("div", {}, line || " ");
      row.hidden = !shown(line);
      output.append(row);
    }
    while (output.childElementCount > LINES_MAX) output.firstElementChild.remove();
    if (atEnd) output.scrollTop = output.scrollHeight;
  };
  const open = async () => {
    abort?.abort();
    const mine = (abort = new AbortController());
    replace(output);
    state.textContent = "Reading…";
    const query = new URLSearchParams({ container: select.value, tailLines: TAIL_LINES });
    if (follow.checked && !previous.checked) query.set("follow", "true");
    if (previous.checked) query.set("previous", "true");
    if (times.checked) query.set("timestamps", "true");
    try {
      for await (const lines of api.follow(`${KINDS.pods.path(namespace, name, "log")}?${query}`, { signal: mine.signal })) {
        state.textContent = follow.checked ? "Following" : "";
        add(lines);
      }
      if (!mine.signal.aborted) state.textContent = output.childElementCount ? "The end." : "The log is empty.";
    } catch (error) {
      if (!mine.signal.aborted) state.textContent = error.message;
    }
  };
  for (const input of [select, follow, previous, times]) input.addEventListener("change", open);
  wrap.addEventListener("change", () => output.classList.toggle("wrapped", wrap.checked));
  filter.addEventListener("input", () => {
    for (const row of output.children) row.hidden = !shown(row.textContent);
  });
  open();
  return () => abort?.abort();
}
