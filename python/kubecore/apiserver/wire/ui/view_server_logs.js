// The API server's own recent lines, `/logs`: asked for again every two seconds while they are looked at.

import { h } from "./dom.js";

const INTERVAL_MILLISECONDS = 2000;
const LINES_MAX = 2000;

export function serverLogsView({ api, state, main }) {
  const output = h("div", { class: "log tall wrapped", tabindex: "0", role: "log", "aria-label": "Server log" });
  const note = h("p", { class: "quiet-text", role: "status" }, "Reading…");
  main.append(output, note);
  let after = 0;
  let timer = 0;
  let over = false;

  const filter = () => {
    for (const row of output.children) row.hidden = Boolean(state.search) && !row.textContent.toLowerCase().includes(state.search.toLowerCase());
  };
  const read = async () => {
    try {
      const response = await api.fetch(`/logs?after=${after}`, { accept: "text/plain" });
      after = Number(response.headers.get("kubecore-last") ?? after);
      const text = await response.text();
      const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
      for (const line of text.split("\n").filter(Boolean)) {
        const tone = / (ERROR|CRITICAL) /.test(line) ? "bad" : / WARNING /.test(line) ? "busy" : "";
        output.append(h("div", { class: tone }, line));
      }
      while (output.childElementCount > LINES_MAX) output.firstElementChild.remove();
      filter();
      if (atEnd) output.scrollTop = output.scrollHeight;
      note.textContent = output.childElementCount ? "" : "Nothing was said yet.";
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
