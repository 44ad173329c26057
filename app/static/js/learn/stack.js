import { numbers } from "../convolve/grid.js";
import { el } from "../dom.js";
import { written } from "../numbers.js";
import { soFar, table, walk } from "./walk.js";

const SLICES = ["first", "second", "third"];

/** Three slices of 4 rows and 4 columns each. */
const INPUT = [
  [
    [1, 2, 0, 1],
    [0, 1, 3, 1],
    [2, 0, 1, 0],
    [1, 1, 0, 2],
  ],
  [
    [0, 1, 1, 0],
    [2, 0, 1, 1],
    [1, 1, 0, 2],
    [0, 2, 1, 0],
  ],
  [
    [3, 0, 1, 2],
    [1, 1, 0, 0],
    [0, 2, 1, 1],
    [1, 0, 0, 1],
  ],
];

const MASK = [
  [
    [1, 0],
    [0, 1],
  ],
  [
    [0, 2],
    [0, 0],
  ],
  [
    [-1, 0],
    [1, 0],
  ],
];

/**
 * A mask as deep as its input: one window in every slice, and a single sum.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const slices = el("div", { class: "figure__columns" });
  const output = el("div");
  const walking = walk(app, {
    request: () => ({ input: INPUT, mask: MASK, operation: "correlation", padding: "valid" }),
    count: () => 9,
    show,
  });
  root.append(
    walking.steps,
    walking.error,
    slices,
    el("div", {}, el("h3", {}, "Output: one map"), output),
    walking.sum,
  );

  /** @param {any} answer @param {number} at @returns {[string, string]} */
  function show(answer, at) {
    const [row, column] = [Math.floor(at / 3), at % 3];
    const isUnder = (/** @type {number} */ r, /** @type {number} */ c) =>
      r >= row && r < row + 2 && c >= column && c < column + 2;
    const sums = INPUT.map((slice, depth) =>
      table(2, 2, (r, c) => slice[row + r][column + c] * MASK[depth][r][c])
        .flat()
        .reduce((total, product) => total + product, 0),
    );
    slices.replaceChildren(
      ...INPUT.map((slice, depth) =>
        el(
          "div",
          { class: "stack" },
          el("h3", {}, `The ${SLICES[depth]} slice, and its slice of the mask`),
          el(
            "div",
            { class: "row" },
            numbers(`The ${SLICES[depth]} slice`, slice, (r, c) => (isUnder(r, c) ? "learn-under" : "")),
            numbers(`The mask’s ${SLICES[depth]} slice`, MASK[depth], () => "learn-under"),
          ),
          el("p", { class: "mono" }, `adds ${written(sums[depth])}`),
        ),
      ),
    );
    const map = answer.output[0];
    output.replaceChildren(soFar(map, at));
    const terms = sums.map((part) => (part < 0 ? `(${written(part)})` : written(part))).join(" + ");
    return [terms, written(map[row][column])];
  }

  walking.ask();
}
