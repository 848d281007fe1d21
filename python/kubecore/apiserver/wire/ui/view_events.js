// Events: what the parts had to say, the newest first.

import { h, onFrame, replace } from "./dom.js";
import { chip, listState, reference, since } from "./parts.js";
import { Table } from "./table.js";

export function eventsView({ collections, state, main }) {
  const events = collections.of("events");
  let onlyWarnings = false;
  const notice = h("div", {});
  const only = h("input", { type: "checkbox", onchange: () => ((onlyWarnings = only.checked), draw()) });
  const table = new Table({
    label: "Events",
    key: (event) => event.metadata.uid,
    sort: 0,
    descending: true,
    empty: "No events match.",
    columns: [
      { title: "Last seen", width: "5.5rem", value: (event) => event.last, cell: (event) => since(event.last) },
      { title: "Reason", width: "minmax(11rem, 1fr)", value: (event) => event.reason, cell: (event) => chip({ text: event.reason, tone: event.type === "Warning" ? "bad" : "quiet" }) },
      { title: "About", width: "minmax(12rem, 1.6fr)", value: (event) => event.about?.name, cell: (event) => (event.about ? reference(event.about.kind, event.about.namespace, event.about.name) : "–") },
      { title: "Message", width: "minmax(12rem, 3fr)", cell: (event) => h("span", { title: event.message }, event.message) },
      { title: "From", width: "minmax(9rem, 0.8fr)", cell: (event) => event.source ?? "–" },
      { title: "Times", width: "4rem", align: "number", value: (event) => event.count, cell: (event) => String(event.count) },
    ],
  });
  main.append(notice, h("label", { class: "check" }, only, "Warnings only"), table.element);
  const draw = onFrame(() => {
    replace(notice, listState(events));
    table.update([...events.items.values()].filter((event) => (!onlyWarnings || event.type === "Warning") && state.matches(event, event.reason, event.message, event.about?.name, event.source)));
  });
  const ends = [events.subscribe(draw), state.subscribe(draw)];
  return () => {
    ends.forEach((end) => end());
    table.dispose();
  };
}
