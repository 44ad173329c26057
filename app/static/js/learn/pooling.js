import { button, toggle } from "../convolve/controls.js";
import { numbers } from "../convolve/grid.js";
import { el, errorBox, newest } from "../dom.js";

/** A peak at the left of every window of two, and more columns than are shown, so that the map can be moved. */
const MAP = [
  [0, 1, 0, 9, 4, 8, 3, 7, 2],
  [1, 0, 0, 2, 1, 3, 1, 2, 1],
  [0, 2, 1, 3, 1, 2, 0, 4, 1],
  [1, 0, 0, 6, 2, 5, 3, 8, 4],
  [0, 1, 0, 7, 3, 9, 5, 6, 1],
  [2, 0, 1, 1, 0, 3, 2, 1, 0],
];
const SIDE = 6;

/**
 * The maximum and the mean of the same windows, and what a shift by a column does to them.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("pooling") ?? {};
  const state = { size: saved.size === 3 ? 3 : 2, moved: [0, 1, 2, 3].includes(saved.moved) ? saved.moved : 0 };
  /** @type {any[]} */
  let before = [];
  const error = errorBox(() => ask());
  const panels = el("div", { class: "figure__columns" });
  const said = el("p", { class: "figure__sum", "aria-live": "polite" });
  const size = toggle(
    "Window",
    [
      [2, "2 × 2"],
      [3, "3 × 3"],
    ],
    () => state.size,
    (/** @type {number} */ value) => {
      before = [];
      change({ size: value });
    },
  );
  const move = button("Move the map by one column", () => change({ moved: (state.moved + 1) % 4 }));
  root.append(size.root, el("div", { class: "row" }, move), error.root, panels, said);

  const shown = () => MAP.map((row) => row.slice(3 - state.moved, 3 - state.moved + SIDE));

  const ask = newest(
    (signal) =>
      Promise.all(
        ["max", "average"].map((kind) =>
          app.api.json({ method: "POST", path: "/pool", json: { input: shown(), kind, size: state.size }, signal }),
        ),
      ),
    (answers) => {
      error.clear();
      show(answers);
    },
    (problem) => error.show(problem),
  );

  /** @param {any[]} answers */
  function show(answers) {
    const [most, mean] = answers.map((answer) => answer.output);
    const stripe = (/** @type {number} */ r, /** @type {number} */ c) =>
      (Math.floor(r / state.size) + Math.floor(c / state.size)) % 2 ? "learn-under" : "";
    const changed = (/** @type {number[][]} */ now, /** @type {number[][] | undefined} */ then) =>
      then ? now.flat().filter((value, i) => value !== then.flat()[i]).length : 0;
    const counts = [changed(most, before[0]), changed(mean, before[1])];
    const differs = (/** @type {number} */ which) => (/** @type {number} */ r, /** @type {number} */ c) =>
      before[which] && before[which][r][c] !== answers[which].output[r][c] ? "learn-now" : "";
    panels.replaceChildren(
      el("div", {}, el("h3", {}, "A map, cut into windows"), numbers("The map", shown(), stripe)),
      el("div", {}, el("h3", {}, "Maximum"), numbers("The maxima", most, differs(0))),
      el("div", {}, el("h3", {}, "Average"), numbers("The averages", mean, differs(1))),
    );
    const changes = `${counts[0]} of ${most.flat().length} maxima and ${counts[1]} of ${mean.flat().length} averages`;
    said.textContent = before.length
      ? `After the move, ${changes} are others than before.`
      : `${SIDE * SIDE} numbers became ${most.flat().length}.`;
    before = [most, mean];
  }

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    app.link.set("pooling", state);
    ask();
  }

  ask();
}
