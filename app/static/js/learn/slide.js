import { scroller, toggle } from "../convolve/controls.js";
import { editor, numbers } from "../convolve/grid.js";
import { el, errorBox, newest } from "../dom.js";
import { written } from "../numbers.js";
import { sumOf } from "../convolve/words.js";
import { stepper } from "./steps.js";

const START = {
  input: [
    [2, 4, 6],
    [8, 10, 12],
    [14, 16, 18],
  ],
  mask: [
    [1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
  ],
};

/**
 * A mask over rows and columns: the window, the flipped mask, the products and the output as far as it is.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("slide") ?? {};
  const state = {
    input: isGrid(saved.input) ? saved.input : START.input,
    mask: isGrid(saved.mask) ? saved.mask : START.mask,
    operation: saved.operation === "correlation" ? "correlation" : "convolution",
    at: 0,
  };
  /** @type {any} */
  let answer = null;
  const error = errorBox(() => ask());
  const padded = scroller("Padded input, scrolls");
  const slides = scroller("The mask as it slides, scrolls");
  const output = scroller("Output, scrolls");
  const sum = el("p", { class: "figure__sum mono" });
  const columns = () => answer?.shape[1] ?? state.input[0].length;
  const steps = stepper({
    count: () => (answer ? answer.shape[0] * answer.shape[1] : 9),
    at: () => state.at,
    go,
    noun: "output",
  });
  const operation = toggle(
    "Is the mask flipped?",
    [
      ["convolution", "Yes: convolution"],
      ["correlation", "No: correlation"],
    ],
    () => state.operation,
    (/** @type {string} */ value) => change({ operation: value }),
  );
  root.append(
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "Input"), grid("input", "Input")),
      el("div", {}, el("h3", {}, "Mask"), grid("mask", "Mask")),
    ),
    operation.root,
    steps.root,
    error.root,
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "The input in its border of zeros"), padded),
      el("div", {}, el("h3", {}, "The mask as it slides"), slides),
      el("div", {}, el("h3", {}, "Output"), output),
    ),
    sum,
  );

  /** @param {"input" | "mask"} what @param {string} label */
  function grid(what, label) {
    return editor({
      label: `${label} of the slide`,
      limits: [1, what === "mask" ? 5 : 6],
      empty: 0,
      get: () => state[what],
      set: (values) => change({ [what]: values, at: 0 }),
    }).root;
  }

  const ask = newest(
    async (signal) => {
      const { input, mask, operation } = state;
      const request = { input, mask, operation, padding: "same" };
      return app.api.json({ method: "POST", path: "/convolve", json: request, signal });
    },
    (found) => {
      error.clear();
      answer = found;
      state.at = Math.min(state.at, found.shape[0] * found.shape[1] - 1);
      show();
    },
    (problem) => error.show(problem),
    { pause: 150 },
  );

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    steps.stop();
    ask();
  }

  /** @param {number} step */
  function go(step) {
    state.at = step;
    if (answer) show();
  }

  function show() {
    app.link.set("slide", { input: state.input, mask: state.mask, operation: state.operation });
    const [row, column] = [Math.floor(state.at / columns()), state.at % columns()];
    const { mask, padding } = answer.applied;
    const [[top, bottom], [left, right]] = padding;
    const [height, width] = [state.input.length, state.input[0].length];
    const value = (/** @type {number} */ r, /** @type {number} */ c) => state.input[r - top]?.[c - left] ?? 0;
    const isUnder = (/** @type {number} */ r, /** @type {number} */ c) =>
      r >= row && r < row + mask.length && c >= column && c < column + mask[0].length;
    const isOutside = (/** @type {number} */ r, /** @type {number} */ c) =>
      r < top || c < left || r >= top + height || c >= left + width;
    const all = table(top + height + bottom, left + width + right, value);
    padded.replaceChildren(
      numbers(
        "The padded input",
        all,
        (r, c) => `${isOutside(r, c) ? "cv-padding" : ""} ${isUnder(r, c) ? "learn-under" : ""}`,
      ),
    );
    slides.replaceChildren(numbers("The mask as it slides", mask, () => "learn-under"));
    output.replaceChildren(
      numbers("The output so far", answer.output, (r, c) => {
        const index = r * columns() + c;
        return index === state.at ? "learn-now" : index > state.at ? "learn-later" : "";
      }),
    );
    const window = table(mask.length, mask[0].length, (r, c) => value(row + r, column + c));
    const found = answer.output[row][column];
    const words = sumOf({ mask, window, products: [], sum: found, scale: 1, output: found }, "none").sum;
    const [terms, result] = words.split(" = ");
    sum.replaceChildren(`${terms} = `, el("strong", {}, result ?? written(found)));
    steps.refresh();
  }

  ask();
}

/** @param {number} rows @param {number} columns @param {(r: number, c: number) => number} value */
export function table(rows, columns, value) {
  return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => value(r, c)));
}

/** Whether a link's value is rows of numbers, all as long. @param {any} rows */
function isGrid(rows) {
  return (
    Array.isArray(rows) &&
    rows.length > 0 &&
    rows.length <= 6 &&
    rows.every(
      (row) =>
        Array.isArray(row) &&
        row.length === rows[0].length &&
        row.length > 0 &&
        row.length <= 6 &&
        row.every((value) => Number.isFinite(value)),
    )
  );
}
