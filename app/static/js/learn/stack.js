import { numbers } from "../convolve/grid.js";
import { el, errorBox, newest } from "../dom.js";
import { written } from "../numbers.js";
import { table } from "./slide.js";
import { stepper } from "./steps.js";

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
  let at = 0;
  /** @type {any} */
  let answer = null;
  const error = errorBox(() => ask());
  const slices = el("div", { class: "figure__columns" });
  const output = el("div");
  const sum = el("p", { class: "figure__sum mono" });
  const steps = stepper({ count: () => 9, at: () => at, go, noun: "output" });
  root.append(steps.root, error.root, slices, el("div", {}, el("h3", {}, "Output: one map"), output), sum);

  const ask = newest(
    (signal) =>
      app.api.json({
        method: "POST",
        path: "/convolve",
        json: { input: INPUT, mask: MASK, operation: "correlation", padding: "valid" },
        signal,
      }),
    (found) => {
      error.clear();
      answer = found;
      show();
    },
    (problem) => error.show(problem),
  );

  /** @param {number} step */
  function go(step) {
    at = step;
    if (answer) show();
  }

  function show() {
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
    output.replaceChildren(
      numbers("The output so far", answer.output[0], (r, c) => {
        const index = 3 * r + c;
        return index === at ? "learn-now" : index > at ? "learn-later" : "";
      }),
    );
    sum.replaceChildren(
      `${sums.map((part) => (part < 0 ? `(${written(part)})` : written(part))).join(" + ")} = `,
      el("strong", {}, written(answer.output[0][row][column])),
    );
    steps.refresh();
  }

  ask();
}
