import { scroller, toggle } from "../convolve/controls.js";
import { numbers } from "../convolve/grid.js";
import { el, errorBox, newest } from "../dom.js";
import { table } from "./walk.js";

const STRIDES = [1, 2, 3];

/**
 * What each padding adds to an axis, before and after it together, for a mask of k elements.
 * @type {Record<string, (k: number) => number>}
 */
const ADDED = { valid: () => 0, same: (k) => k - 1, full: (k) => 2 * (k - 1) };

/**
 * The same input and mask at strides 1, 2 and 3: where the window lies for each output, and the size as a formula.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("strides") ?? {};
  const state = {
    n: within(saved.n, 3, 9, 5),
    k: within(saved.k, 1, 5, 3),
    padding: Object.hasOwn(ADDED, saved.padding) ? saved.padding : "same",
  };
  const error = errorBox(() => ask());
  const panels = el("div", { class: "figure__columns learn-dense" });
  const padding = toggle(
    "Padding",
    Object.keys(ADDED).map((name) => [name, name]),
    () => state.padding,
    (/** @type {string} */ name) => change({ padding: name }),
  );
  root.append(
    el(
      "div",
      { class: "row" },
      slider("n", "Rows and columns of the input, n", 3, 9),
      slider("k", "Rows and columns of the mask, k", 1, 5),
    ),
    padding.root,
    error.root,
    panels,
    el("p", { class: "small" }, "Point at a number of an output, or reach it with the Tab key, to see its window."),
  );

  /** @param {"n" | "k"} what @param {string} label @param {number} least @param {number} most */
  function slider(what, label, least, most) {
    const value = el("output", { for: `strides-${what}` }, state[what]);
    const input = el("input", {
      type: "range",
      id: `strides-${what}`,
      min: least,
      max: most,
      value: state[what],
      input: () => {
        value.textContent = input.value;
        change({ [what]: Number(input.value) });
      },
    });
    return el(
      "div",
      { class: "field" },
      el("label", { for: `strides-${what}` }, label),
      el("div", { class: "row" }, input, value),
    );
  }

  const ask = newest(
    (signal) => {
      const input = table(state.n, state.n, (r, c) => r * state.n + c + 1);
      const mask = table(state.k, state.k, () => 1);
      const asked = STRIDES.map((stride) =>
        app.api.json({
          method: "POST",
          path: "/convolve",
          json: { input, mask, padding: state.padding, stride },
          signal,
        }),
      );
      return Promise.all(asked);
    },
    (answers) => {
      error.clear();
      panels.replaceChildren(...answers.map((answer, i) => panel(answer, STRIDES[i])));
    },
    (problem) => error.show(problem),
    { pause: 100 },
  );

  /** @param {any} answer @param {number} stride */
  function panel(answer, stride) {
    const [[before, after]] = answer.applied.padding;
    const side = state.n + before + after;
    const values = table(side, side, (r, c) =>
      isOutside(r) || isOutside(c) ? 0 : (r - before) * state.n + (c - before) + 1,
    );
    const holder = scroller(`Input at stride ${stride}`);
    const output = numbers(`Output at stride ${stride}`, answer.output);
    output.querySelectorAll("td").forEach((/** @type {HTMLTableCellElement} */ cell, /** @type {number} */ index) => {
      const at = [Math.floor(index / answer.shape[1]), index % answer.shape[1]];
      const choose = () => mark(at);
      const words = `Row ${at[0] + 1}, column ${at[1] + 1}: ${cell.textContent}`;
      cell.replaceChildren(
        el(
          "button",
          { type: "button", class: "learn-cell", "aria-label": words, focus: choose, pointerenter: choose },
          cell.textContent ?? "",
        ),
      );
    });

    /** @param {number} i */
    function isOutside(i) {
      return i < before || i >= before + state.n;
    }

    /** @param {number[]} at */
    function mark([row, column]) {
      const isUnder = (/** @type {number} */ i, /** @type {number} */ first) => i >= first && i < first + state.k;
      holder.replaceChildren(
        numbers(`Input at stride ${stride}`, values, (r, c) =>
          [
            isOutside(r) || isOutside(c) ? "cv-padding" : "",
            isUnder(r, row * stride) && isUnder(c, column * stride) ? "learn-under" : "",
          ].join(" "),
        ),
      );
      output
        .querySelectorAll("td")
        .forEach((/** @type {HTMLElement} */ cell, /** @type {number} */ index) =>
          cell.classList.toggle("learn-under", index === row * answer.shape[1] + column),
        );
    }

    mark([0, 0]);
    return el(
      "div",
      { class: "stack" },
      el("h3", {}, `Stride ${stride}`),
      holder,
      el("p", { class: "mono" }, formula(before + after, stride), " = ", el("strong", {}, answer.shape[0])),
      scroller(`Output at stride ${stride}`, output),
    );
  }

  /** @param {number} added @param {number} stride */
  const formula = (added, stride) => `⌊(n + p − k) / s⌋ + 1 = ⌊(${state.n} + ${added} − ${state.k}) / ${stride}⌋ + 1`;

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    app.link.set("strides", state);
    ask();
  }

  ask();
}

/**
 * A link's whole number, or another where it is none or out of range.
 * @param {any} value
 * @param {number} least
 * @param {number} most
 * @param {number} otherwise
 */
function within(value, least, most, otherwise) {
  return Number.isInteger(value) && value >= least && value <= most ? value : otherwise;
}
