// The picture of the List-Watch flow: writers on the left, the API server and its revision in the middle, watchers on the right. Each
// change travels as a dot from who wrote it to the server, and from there to everybody who watches that kind.

import { replace, s } from "./dom.js";

const WIDTH = 1000;
const ROW = 34;
const BOX = { width: 230, height: 24 };
const CENTER = { x: WIDTH / 2 - 75, width: 150, height: 96 };
const PLACES_MAX = 8;
const DOTS_MAX = 60;
const LEG_MILLISECONDS = 650;
const FORGET_MILLISECONDS = 180000;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class FlowPicture {
  #writers = new Map(); // name → when it last wrote
  #watchers = new Map(); // name → resources
  #paths = new Map();
  #dots = [];
  #frame = 0;
  revision = 0;

  constructor() {
    this.element = s("svg", { class: "flow-picture", role: "img", "aria-label": "Writers, the API server, watchers", preserveAspectRatio: "xMidYMid meet" });
    this.layer = s("g", {});
    this.dots = s("g", { class: "dots" });
    this.counter = s("text", { class: "revision", "text-anchor": "middle" }, "–");
    this.draw();
  }

  // watchers: name → Set of resources. Those that watch most are shown.
  setWatchers(watchers) {
    const shown = [...watchers].sort((a, b) => b[1].size - a[1].size || a[0].localeCompare(b[0])).slice(0, PLACES_MAX);
    if (JSON.stringify(shown.map(([name]) => name)) !== JSON.stringify([...this.#watchers.keys()])) {
      this.#watchers = new Map(shown);
      this.draw();
    } else {
      this.#watchers = new Map(shown);
    }
  }

  change({ writer, resource, revision, tone }) {
    this.revision = Math.max(this.revision, revision);
    this.counter.textContent = this.revision.toLocaleString("en");
    if (writer) {
      const isNew = !this.#writers.has(writer);
      this.#writers.set(writer, Date.now());
      if (isNew) this.#forget();
    }
    if (still.matches || document.hidden || this.#dots.length > DOTS_MAX) return;
    const onwards = [...this.#watchers].filter(([, resources]) => resources.has(resource)).map(([name]) => `out/${name}`);
    const way = this.#paths.get(`in/${writer}`);
    if (way) this.#launch(`in/${writer}`, tone, () => onwards.forEach((path) => this.#launch(path, tone)));
    else onwards.forEach((path) => this.#launch(path, tone));
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#dots = [];
  }

  #forget() {
    const late = Date.now() - FORGET_MILLISECONDS;
    const latest = [...this.#writers].filter(([, at]) => at > late).sort((a, b) => b[1] - a[1]).slice(0, PLACES_MAX);
    const names = new Set(latest.map(([name]) => name));
    // Those that stay keep their places.
    this.#writers = new Map([...this.#writers].filter(([name]) => names.has(name)));
    this.draw();
  }

  draw() {
    const rows = Math.max(5, this.#writers.size, this.#watchers.size);
    const height = rows * ROW + 34;
    this.element.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    const middle = height / 2 + 12;
    this.#paths.clear();
    const spread = (count, place) => middle + (place - (count - 1) / 2) * ROW;
    const column = (names, left, side) =>
      names.map((name, place) => {
        const y = spread(names.length, place);
        const edge = side === "in" ? left + BOX.width : left;
        const server = side === "in" ? CENTER.x : CENTER.x + CENTER.width;
        const bend = (edge + server) / 2;
        const d = side === "in" ? `M${edge} ${y}C${bend} ${y} ${bend} ${middle} ${server} ${middle}` : `M${server} ${middle}C${bend} ${middle} ${bend} ${y} ${edge} ${y}`;
        const path = s("path", { class: "way", d });
        this.#paths.set(`${side}/${name}`, path);
        const box = s("rect", { class: `party ${side}`, x: left, y: y - BOX.height / 2, width: BOX.width, height: BOX.height, rx: 6 });
        return [path, box, s("text", { class: "party-name", x: left + BOX.width / 2, y: y + 4.5, "text-anchor": "middle" }, shorten(name))];
      });
    this.counter.setAttribute("x", WIDTH / 2);
    this.counter.setAttribute("y", middle + 8);
    const title = (x, text) => s("text", { class: "column-title", x, y: 16, "text-anchor": "middle" }, text);
    replace(
      this.layer,
      title(BOX.width / 2 + 4, "who writes"),
      title(WIDTH / 2, "API server"),
      title(WIDTH - BOX.width / 2 - 4, "who watches"),
      column([...this.#writers.keys()], 4, "in"),
      column([...this.#watchers.keys()], WIDTH - BOX.width - 4, "out"),
      s("rect", { class: "server", x: CENTER.x, y: middle - CENTER.height / 2, width: CENTER.width, height: CENTER.height, rx: 14 }),
      s("text", { class: "server-name", x: WIDTH / 2, y: middle - 20, "text-anchor": "middle" }, "revision"),
      this.counter,
    );
    replace(this.element, this.layer, this.dots);
  }

  #launch(name, tone, then) {
    const path = this.#paths.get(name);
    if (!path) {
      then?.();
      return;
    }
    const dot = s("circle", { r: 4.5, class: tone });
    this.dots.append(dot);
    this.#dots.push({ dot, path, length: path.getTotalLength(), started: performance.now(), then });
    if (this.#dots.length === 1) this.#frame = requestAnimationFrame((now) => this.#move(now));
  }

  #move(now) {
    const moving = this.#dots;
    this.#dots = [];
    const arrived = [];
    for (const each of moving) {
      const share = (now - each.started) / LEG_MILLISECONDS;
      if (share >= 1 || !each.path.isConnected) {
        each.dot.remove();
        arrived.push(each);
        continue;
      }
      const eased = share < 0 ? 0 : share * share * (3 - 2 * share);
      const { x, y } = each.path.getPointAtLength(each.length * eased);
      each.dot.setAttribute("cx", x);
      each.dot.setAttribute("cy", y);
      this.#dots.push(each);
    }
    const waiting = this.#dots.length;
    for (const each of arrived) each.then?.();
    // What has just been launched onto an empty list has asked for the next frame already.
    if (waiting) this.#frame = requestAnimationFrame((next) => this.#move(next));
  }
}

const shorten = (name) => (name.length > 30 ? `${name.slice(0, 29)}…` : name);
