// A line over time as plain SVG: an area, a dashed line for the limit if there is one, a crosshair that follows pointer and arrow keys.

import { h, replace, s } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 140;
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;
const GRID_LINES = 3;
const SPAN_MILLISECONDS = 5 * 60 * 1000;

export class Chart {
  #points = [];
  #limit;
  #drawn = { x: () => 0, y: () => 0 };

  constructor({ title, format, tone }) {
    this.#format = format;
    this.value = h("span", { class: "chart-value" }, "–");
    this.note = h("span", { class: "chart-note" });
    this.plot = s("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: `plot ${tone}`,
      role: "img",
      tabindex: "0",
      preserveAspectRatio: "none",
    });
    this.cursor = s("g", { class: "cursor", visibility: "hidden" });
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("span", { class: "chart-title" }, title), this.note, this.value),
      this.plot,
    );
    this.title = title;
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => this.#leave());
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    this.plot.addEventListener("blur", () => this.#leave());
  }

  #format;
  #selected = -1;

  // points: [{at, value}] in order. limit: what is requested or offered, if anything.
  update(points, { limit, note } = {}) {
    this.#points = points;
    this.#limit = limit;
    this.note.textContent = note ?? "";
    if (!points.length) {
      this.value.textContent = "–";
      replace(this.plot, s("text", { x: WIDTH / 2, y: HEIGHT / 2, class: "empty", "text-anchor": "middle" }, "no figures yet"));
      this.plot.setAttribute("aria-label", `${this.title}: no figures yet`);
      return;
    }
    this.#draw();
    if (this.#selected < 0) this.#tell(points[points.length - 1]);
  }

  #draw() {
    const points = this.#points;
    const end = points[points.length - 1].at;
    const start = Math.min(points[0].at, end - SPAN_MILLISECONDS);
    const peak = Math.max(...points.map((point) => point.value));
    // A limit far above what is used would flatten the line: then it is only told.
    const shown = this.#limit && this.#limit < peak * 4 ? Math.max(peak, this.#limit) : peak;
    const top = (shown || 1) * 1.12;
    const x = (at) => LEFT + ((at - start) / (end - start || 1)) * (WIDTH - LEFT - 4);
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    this.#drawn = { x, y };
    const line = points.map((point, place) => `${place ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
    const area = `${line}L${x(end).toFixed(1)} ${y(0)}L${x(points[0].at).toFixed(1)} ${y(0)}Z`;
    const grid = Array.from({ length: GRID_LINES }, (_, place) => (top * place) / (GRID_LINES - 1));
    replace(
      this.plot,
      grid.map((value) => [
        s("line", { class: "grid", x1: LEFT, x2: WIDTH - 4, y1: y(value), y2: y(value) }),
        s("text", { class: "tick", x: LEFT - 6, y: y(value) + (value ? 4 : 0), "text-anchor": "end" }, this.#format(value)),
      ]),
      [start, (start + end) / 2, end].map((at, place) =>
        s("text", { class: "tick", x: x(at), y: HEIGHT - 4, "text-anchor": ["start", "middle", "end"][place] }, clock(at)),
      ),
      s("path", { class: "area", d: area }),
      s("path", { class: "line", d: line }),
      this.#limit && this.#limit <= top && s("line", { class: "limit", x1: LEFT, x2: WIDTH - 4, y1: y(this.#limit), y2: y(this.#limit) }),
      points.length === 1 && s("circle", { class: "dot", cx: x(end), cy: y(points[0].value), r: 3 }),
      this.cursor,
    );
    const last = points[points.length - 1].value;
    this.plot.setAttribute("aria-label", `${this.title}: now ${this.#format(last)}, at most ${this.#format(peak)}`);
  }

  #tell(point, when = "") {
    this.value.textContent = this.#format(point.value) + when;
  }

  #point(event) {
    if (!this.#points.length) return;
    const box = this.plot.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = 0;
    for (const [place, point] of this.#points.entries()) {
      if (Math.abs(this.#drawn.x(point.at) - across) < Math.abs(this.#drawn.x(this.#points[nearest].at) - across)) nearest = place;
    }
    this.#select(nearest);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#points.length) return;
    event.preventDefault();
    const from = this.#selected < 0 ? this.#points.length - 1 : this.#selected;
    this.#select(Math.min(this.#points.length - 1, Math.max(0, from + step)));
  }

  #select(place) {
    this.#selected = place;
    const point = this.#points[place];
    const { x, y } = this.#drawn;
    replace(
      this.cursor,
      s("line", { x1: x(point.at), x2: x(point.at), y1: TOP, y2: HEIGHT - BOTTOM }),
      s("circle", { cx: x(point.at), cy: y(point.value), r: 3.5 }),
    );
    this.cursor.setAttribute("visibility", "visible");
    this.#tell(point, ` at ${clock(point.at)}`);
  }

  #leave() {
    this.#selected = -1;
    this.cursor.setAttribute("visibility", "hidden");
    if (this.#points.length) this.#tell(this.#points[this.#points.length - 1]);
  }
}

// A share as a small bar; `undefined` when it is not known.
export function meter(share, text) {
  const bar = h("span", { class: "meter-bar" });
  const known = share !== undefined && Number.isFinite(share);
  bar.style.setProperty("--share", known ? Math.min(1, share) : 0);
  const tone = !known ? "quiet" : share > 0.9 ? "bad" : share > 0.75 ? "busy" : "good";
  return h("span", { class: `meter ${tone}` }, bar, h("span", { class: "meter-text" }, text));
}
