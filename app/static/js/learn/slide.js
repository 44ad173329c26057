import { scroller } from "../convolve/controls.js";
import { editor, numbers } from "../convolve/grid.js";
import { el } from "../dom.js";
import { written } from "../numbers.js";
import { sumOf } from "../convolve/words.js";
import { flips, operationOf, soFar, table, walk } from "./walk.js";

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
    operation: operationOf(saved),
  };
  const padded = scroller("Padded input, scrolls");
  const slides = scroller("The mask as it slides, scrolls");
  const output = scroller("Output, scrolls");
  const walking = walk(app, {
    request: () => ({ ...state, padding: "same" }),
    count: ({ shape }) => shape[0] * shape[1],
    show,
  });
  const operation = flips(
    "Is the mask flipped?",
    () => state.operation,
    (value) => {
      state.operation = value;
      walking.again();
    },
  );
  root.append(
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "Input"), grid("input", "Input")),
      el("div", {}, el("h3", {}, "Mask"), grid("mask", "Mask")),
    ),
    operation,
    walking.steps,
    walking.error,
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "The input in its border of zeros"), padded),
      el("div", {}, el("h3", {}, "The mask as it slides"), slides),
      el("div", {}, el("h3", {}, "Output"), output),
    ),
    walking.sum,
  );

  /** @param {"input" | "mask"} what @param {string} label */
  function grid(what, label) {
    return editor({
      label: `${label} of the slide`,
      limits: [1, what === "mask" ? 5 : 6],
      empty: 0,
      get: () => state[what],
      set: (values) => {
        state[what] = values;
        walking.again(0);
      },
    }).root;
  }

  /** @param {any} answer @param {number} at @returns {[string, string]} */
  function show(answer, at) {
    app.link.set("slide", state);
    const columns = answer.shape[1];
    const [row, column] = [Math.floor(at / columns), at % columns];
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
    output.replaceChildren(soFar(answer.output, at));
    const window = table(mask.length, mask[0].length, (r, c) => value(row + r, column + c));
    const found = answer.output[row][column];
    const words = sumOf({ mask, window, products: [], sum: found, scale: 1, output: found }, "none").sum;
    const [terms, result] = words.split(" = ");
    return [terms, result ?? written(found)];
  }

  walking.ask();
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
