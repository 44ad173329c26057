import { el } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [540, 220];
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 12, 12, 34];
const CLASSES = ["", "chart__second", "chart__third"];

/**
 * Up to three lines over equal steps, with a legend; the values are in a table for those who do not see it.
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.x  what the steps are
 * @param {{name: string, values: number[]}[]} options.lines
 * @param {[number, number]} options.range of the values
 * @param {(value: number) => string} options.written
 * @param {(string | number)[]} [options.ticks]  what is written below the steps, instead of the first and last number
 * @param {{at: number, name: string}[]} [options.marks]  steps that are marked by an upright line
 * @param {number} [options.count]  how many steps there is room for; by default as many as the longest line has
 */
export function chart({ label, x, lines, range: [low, high], written, ticks, marks = [], count: room = 0 }) {
  const count = Math.max(room, ...lines.map(({ values }) => values.length));
  const across = (/** @type {number} */ i) => LEFT + ((WIDTH - LEFT - RIGHT) * i) / Math.max(1, count - 1);
  const down = (/** @type {number} */ value) =>
    TOP + ((HEIGHT - TOP - BOTTOM) * (high - Math.min(Math.max(value, low), high))) / (high - low || 1);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": label });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + share * (high - low);
    picture.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: down(value), y2: down(value) }),
      text(written(value), { x: LEFT - 6, y: down(value) + 4, "text-anchor": "end" }),
    );
  }
  const below = ticks ?? (count > 1 ? [0, count - 1] : [0]);
  below.forEach((words, i) =>
    picture.append(
      text(String(words), {
        x: across((i * (count - 1)) / Math.max(1, below.length - 1)),
        y: HEIGHT - 18,
        "text-anchor": i === 0 ? "start" : i === below.length - 1 ? "end" : "middle",
      }),
    ),
  );
  picture.append(text(x, { x: (WIDTH + LEFT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }));
  for (const { at, name } of marks) {
    const right = at > count / 2;
    picture.append(
      svg("line", { x1: across(at), x2: across(at), y1: TOP, y2: HEIGHT - BOTTOM, class: "chart__here" }),
      text(name, { x: across(at) + (right ? -5 : 5), y: TOP + 12, "text-anchor": right ? "end" : "start" }),
    );
  }
  lines.forEach(({ values }, which) => {
    const points = values.map((value, i) => `${across(i).toFixed(1)},${down(value).toFixed(1)}`);
    picture.append(svg("path", { d: `M${points.join("L")}`, class: CLASSES[which % 3] }));
  });
  return el("figure", { class: "stack" }, picture, ...(lines.length > 1 ? [legend(lines)] : []));
}

/** @param {{name: string}[]} lines */
function legend(lines) {
  return el(
    "figcaption",
    { class: "row small" },
    ...lines.map(({ name }, which) => {
      const mark = svg("svg", {
        viewBox: "0 0 40 10",
        class: "chart chart__mark",
        width: 40,
        height: 10,
        "aria-hidden": "true",
      });
      mark.append(svg("path", { d: "M0,5L40,5", class: CLASSES[which % 3] }));
      return el("span", { class: "row" }, mark, name);
    }),
  );
}

/** @param {string} words @param {Record<string, any>} attributes */
function text(words, attributes) {
  const element = svg("text", attributes);
  element.textContent = words;
  return element;
}

/** @param {string} tag @param {Record<string, any>} attributes @returns {SVGElement} */
export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return /** @type {SVGElement} */ (element);
}
