import { numbers } from "../convolve/grid.js";
import { toggle } from "../convolve/controls.js";
import { el, errorBox, newest } from "../dom.js";
import { stepper } from "./steps.js";

/**
 * A convolution that the visitor walks through, output by output, computed by the service.
 * @param {any} app
 * @param {object} options
 * @param {() => object} options.request  what is sent to /convolve
 * @param {(answer: any) => number} options.count  how many outputs there are
 * @param {(answer: any, at: number) => [string, string]} options.show  draws an output; its terms, and their sum
 * @param {number} [options.at]  the output to begin with
 */
export function walk(app, { request, count, show, at = 0 }) {
  /** @type {any} */
  let answer = null;
  const error = errorBox(() => ask());
  const sum = el("p", { class: "figure__sum mono" });
  const steps = stepper({ count: () => (answer ? count(answer) : 1), at: () => at, go, noun: "output" });

  const ask = newest(
    (signal) => app.api.json({ method: "POST", path: "/convolve", json: request(), signal }),
    (found) => {
      error.clear();
      answer = found;
      go(Math.min(at, count(answer) - 1));
    },
    (problem) => error.show(problem),
    { pause: 150 },
  );

  /** @param {number} step */
  function go(step) {
    at = step;
    if (!answer) return;
    const [terms, total] = show(answer, at);
    sum.replaceChildren(`${terms} = `, el("strong", {}, total));
    steps.refresh();
  }

  return {
    error: error.root,
    steps: steps.root,
    sum,
    ask,
    /** Stop playing and ask again, and go on from the output `from`. @param {number} [from] */
    again(from = at) {
      at = from;
      steps.stop();
      ask();
    },
  };
}

/** The output up to the one that is looked at. @param {number[][]} output @param {number} at */
export function soFar(output, at) {
  return numbers("The output so far", output, (r, c) => {
    const index = r * output[0].length + c;
    return index === at ? "learn-now" : index > at ? "learn-later" : "";
  });
}

/**
 * Whether the mask is turned around before it slides.
 * @param {string} legend
 * @param {() => string} get
 * @param {(operation: string) => void} set
 */
export const flips = (legend, get, set) =>
  toggle(
    legend,
    [
      ["convolution", "Yes: convolution"],
      ["correlation", "No: correlation"],
    ],
    get,
    set,
  ).root;

/** What a link says of the operation. @param {any} saved */
export const operationOf = ({ operation }) => (operation === "correlation" ? operation : "convolution");

/** @param {number} rows @param {number} columns @param {(r: number, c: number) => number} value */
export function table(rows, columns, value) {
  return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => value(r, c)));
}
