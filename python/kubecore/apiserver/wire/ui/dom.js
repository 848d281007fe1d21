// Elements without a framework: `h` makes them, `replace` puts them in place. Nothing here takes HTML as text.

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  apply(element, attributes);
  append(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  append(element, children);
  return element;
}

function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Icons are paths of one weight on a 20 × 20 grid.
const ICONS = {
  overview: "M3 9.5 10 4l7 5.5V16a1 1 0 0 1-1 1h-3.5v-4.5h-5V17H4a1 1 0 0 1-1-1z",
  nodes: "M4 4h12v5H4zM4 11h12v5H4zM7 6.5h.01M7 13.5h.01",
  workloads: "M10 3 17 6.5 10 10 3 6.5zM3 10l7 3.5 7-3.5M3 13.5 10 17l7-3.5",
  pods: "M10 3 16 6.5v7L10 17l-6-3.5v-7zM10 10v7M10 10l6-3.5M10 10 4 6.5",
  services: "M4 10a6 6 0 0 1 12 0M7 10a3 3 0 0 1 6 0M10 10v6M7 16h6",
  events: "M10 4v7M10 15h.01",
  flow: "M3 6h7a3 3 0 0 1 0 8H7M14 11l3 3-3 3M3 6l3-3M3 6l3 3",
  logs: "M4 5h12M4 8.5h9M4 12h12M4 15.5h7",
  theme: "M10 3a7 7 0 1 0 7 7 5.5 5.5 0 0 1-7-7z",
  close: "M5 5l10 10M15 5 5 15",
  back: "M12 4 6 10l6 6",
  user: "M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6M4 17c.5-3.5 3-5 6-5s5.5 1.5 6 5",
};

export function icon(name) {
  return s(
    "svg",
    { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" },
    s("path", { d: ICONS[name], fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

const REST = 4; // times as long as the work took

// Calls `work` once before the next frame, however often it is asked; work that takes long is done less often, so that a busy cluster
// of 10,000 pods leaves the page time to scroll.
export function onFrame(work) {
  let asked = false;
  let restsUntil = 0;
  const run = () => {
    asked = false;
    const started = performance.now();
    work();
    const now = performance.now();
    restsUntil = now + (now - started) * REST;
  };
  return () => {
    if (asked) return;
    asked = true;
    const rest = restsUntil - performance.now();
    if (rest > 0) setTimeout(() => requestAnimationFrame(run), rest);
    else requestAnimationFrame(run);
  };
}
