// A table that holds 10,000 rows and draws those in sight. Rows have one height, so where each is needs no measuring. With the keyboard:
// arrows, Page Up and Down, Home, End move; Enter opens.

import { h, onFrame, replace } from "./dom.js";

const { compare } = new Intl.Collator("en", { numeric: true });
const ROW_HEIGHT = 40;
const HEAD_HEIGHT = 38;
const BEYOND = 8; // rows drawn above and below what is in sight

export class Table {
  #rows = [];
  #sort;
  #active = 0;
  #open;
  #empty;
  #columns;

  // columns: [{title, width, cell(row) → text or node, value(row) → what to sort by, align}]
  constructor({ label, columns, open, key, sort = 0, descending = false, empty = "Nothing here." }) {
    this.#columns = columns;
    this.#open = open;
    this.#empty = empty;
    this.#sort = { column: sort, descending };
    this.key = key;
    this.headings = h("div", { class: "table-head", role: "row" });
    this.spacer = h("div", { class: "table-space", role: "rowgroup" });
    this.body = h("div", { class: "table-body" }, this.headings, this.spacer);
    this.element = h("div", { class: "table", role: "grid", "aria-label": label, tabindex: "0" }, this.body);
    this.element.style.setProperty("--columns", columns.map(({ width }) => width ?? "minmax(0, 1fr)").join(" "));
    this.draw = onFrame(() => this.#draw());
    this.body.addEventListener("scroll", this.draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.observer = new ResizeObserver(this.draw);
    this.observer.observe(this.body);
    this.#head();
  }

  update(rows) {
    this.#rows = this.#sorted(rows);
    this.#active = Math.min(this.#active, Math.max(0, rows.length - 1));
    this.element.setAttribute("aria-rowcount", String(rows.length));
    this.draw();
  }

  dispose() {
    this.observer.disconnect();
  }

  #sorted(rows) {
    const { column, descending } = this.#sort;
    const value = this.#columns[column].value ?? this.#columns[column].cell;
    const direction = descending ? -1 : 1;
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort(([a], [b]) => direction * (typeof a === "number" && typeof b === "number" ? a - b : compare(String(a ?? ""), String(b ?? ""))));
    return keyed.map(([, row]) => row);
  }

  #head() {
    replace(
      this.headings,
      this.#columns.map(({ title, align }, place) => {
        const current = this.#sort.column === place;
        const sort = current ? (this.#sort.descending ? "descending" : "ascending") : "none";
        return h(
          "div",
          { role: "columnheader", "aria-sort": sort, class: align ?? "" },
          h("button", { type: "button", onclick: () => this.#sortBy(place) }, title, h("span", { class: "sort", "aria-hidden": "true" }, current ? (this.#sort.descending ? "↓" : "↑") : "")),
        );
      }),
    );
  }

  #sortBy(place) {
    const descending = this.#sort.column === place ? !this.#sort.descending : false;
    this.#sort = { column: place, descending };
    this.#head();
    this.update(this.#rows);
  }

  #draw() {
    const { scrollTop, clientHeight } = this.body;
    this.spacer.style.setProperty("--height", `${this.#rows.length * ROW_HEIGHT}px`);
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - BEYOND);
    const last = Math.min(this.#rows.length, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + BEYOND);
    const drawn = [];
    for (let place = first; place < last; place += 1) drawn.push(this.#row(place));
    if (!this.#rows.length) drawn.push(h("div", { class: "table-empty" }, this.#empty));
    replace(this.spacer, drawn);
    const active = this.spacer.querySelector(".active");
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  #row(place) {
    const row = this.#rows[place];
    const element = h(
      "div",
      {
        role: "row",
        id: `row-${this.key(row)}`,
        "aria-rowindex": place + 1,
        class: place === this.#active ? "row active" : "row",
        onclick: (event) => {
          if (event.target.closest("a, button")) return;
          this.#active = place;
          this.#open?.(row);
        },
      },
      this.#columns.map(({ cell, align }) => h("div", { role: "gridcell", class: align ?? "" }, cell(row))),
    );
    element.style.setProperty("--top", `${place * ROW_HEIGHT}px`);
    return element;
  }

  #key(event) {
    if (event.target.closest("button") && event.key === "Enter") return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / ROW_HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.#rows[this.#active]) {
      this.#open?.(this.#rows[this.#active]);
    } else if (event.key in steps) {
      this.#active = Math.min(this.#rows.length - 1, Math.max(0, this.#active + steps[event.key]));
      const top = this.#active * ROW_HEIGHT;
      const room = this.body.clientHeight - HEAD_HEIGHT;
      if (top < this.body.scrollTop) this.body.scrollTop = top;
      else if (top + ROW_HEIGHT > this.body.scrollTop + room) this.body.scrollTop = top + ROW_HEIGHT - room;
      this.draw();
    } else {
      return;
    }
    event.preventDefault();
  }
}
