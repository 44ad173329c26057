import { numbers } from "../convolve/grid.js";
import { scroller, toggle } from "../convolve/controls.js";
import { el } from "../dom.js";
import { written } from "../numbers.js";
import { svg } from "./chart.js";
import { flips, operationOf, walk } from "./walk.js";

const SIGNAL = [1, 1, 2, 4, 7, 7, 7, 4, 2, 1, 1];

/** @type {Record<string, number[]>} */
const MASKS = { mean: [1 / 3, 1 / 3, 1 / 3], difference: [1, 0, -1], echo: [1, 0, 0.5], sharpen: [-1, 3, -1] };

/**
 * One row of numbers under a mask of three: each output's products and sum, the signals as bars.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("signal") ?? {};
  const state = {
    mask: Object.hasOwn(MASKS, saved.mask) ? saved.mask : "difference",
    operation: operationOf(saved),
    at: Number.isInteger(saved.at) && saved.at >= 0 && saved.at < SIGNAL.length ? saved.at : 0,
  };
  const drawing = scroller("Input, mask and output, scrolls");
  const walking = walk(app, {
    request: () => ({ input: SIGNAL, mask: MASKS[state.mask], operation: state.operation }),
    count: () => SIGNAL.length,
    show,
    at: state.at,
  });
  const mask = toggle(
    "Mask",
    Object.keys(MASKS).map((name) => [name, `${name}: ${MASKS[name].map((weight) => written(weight, 2)).join(", ")}`]),
    () => state.mask,
    (/** @type {string} */ name) => change({ mask: name }),
  );
  const operation = flips(
    "Does the mask turn around?",
    () => state.operation,
    (name) => change({ operation: name }),
  );
  root.append(mask.root, operation, walking.steps, walking.error, drawing, walking.sum);

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    walking.again();
  }

  /** @param {any} answer @param {number} at @returns {[string, string]} */
  function show(answer, at) {
    state.at = at;
    app.link.set("signal", state);
    const weights = answer.applied.mask;
    const window = [-1, 0, 1].map((by) => at + by);
    const under = (/** @type {number} */ i) => window.includes(i);
    const values = window.map((i) => SIGNAL[i] ?? 0);
    const padded = [0, ...SIGNAL, 0];
    drawing.replaceChildren(
      el("h3", {}, "Input, with a zero beyond each end, and the mask below its window"),
      bars(padded, (i) => under(i - 1)),
      numbers(
        "The input, and the mask as it slides",
        [padded, padded.map((_, i) => (under(i - 1) ? weights[i - at] : ""))],
        (_, i) => (under(i - 1) ? "learn-under" : i % (padded.length - 1) ? "" : "cv-padding"),
      ),
      el("h3", {}, "Output"),
      bars([0, ...answer.output], (i) => i === at + 1, at + 1),
    );
    const terms = values.map((value, i) => `${written(value)}·${signed(weights[i])}`).join(" + ");
    return [terms, written(answer.output[at], 3)];
  }

  walking.ask();
}

/** @param {number} value */
const signed = (value) => (value < 0 ? `(${written(value, 2)})` : written(value, 2));

/** The width of a bar's column in pixels, that of a cell of the table below it. */
const COLUMN = 44;

/**
 * Numbers as bars from 0 up or down, each with its number; the bars after `last` are not there yet.
 * @param {number[]} values
 * @param {(i: number) => boolean} marked
 * @param {number} [last]
 */
function bars(values, marked, last = values.length) {
  const [width, height] = [COLUMN * values.length, 130];
  const picture = svg("svg", { width, height, class: "bars-figure", "aria-hidden": "true" });
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const y = (/** @type {number} */ value) => 18 + (94 * (high - value)) / (high - low || 1);
  picture.append(svg("line", { x1: 0, x2: width, y1: y(0), y2: y(0) }));
  values.forEach((value, i) => {
    if (i > last) return;
    const kind = `bars-figure__bar${marked(i) ? " bars-figure__bar--under" : ""}`;
    const top = Math.min(y(value), y(0));
    const tall = Math.abs(y(value) - y(0));
    picture.append(svg("rect", { x: COLUMN * i + 8, y: top, width: COLUMN - 16, height: tall, class: kind }));
    const words = svg("text", { x: COLUMN * (i + 0.5), y: value < 0 ? y(value) + 13 : y(value) - 4 });
    words.textContent = i || values.length > SIGNAL.length + 1 ? written(value, 2) : "";
    picture.append(words);
  });
  return picture;
}
