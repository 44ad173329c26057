import { el } from "../dom.js";
import { scroller } from "./controls.js";
import { numbers } from "./grid.js";
import { windowAt } from "./padding.js";
import { Traces } from "./traces.js";
import { written } from "../numbers.js";
import { sumOf } from "./words.js";

/** What the selected output is made of: the window, the mask and the products as grids, and the sum written out. */
export function sumPanel(view) {
  const { state } = view;
  let traces = null;
  let shown = null;
  const grids = el("div", { class: "cv-factors" });
  const sum = el("p", { class: "cv-sum mono" });
  const note = el("p", { class: "cv-words cv-note" });
  const root = el(
    "div",
    { class: "stack cv-sum-panel" },
    scroller("Window, mask and products, scrolls", grids),
    el("div", { class: "cv-sum-box" }, sum, note),
  );

  /** Show the selected output of this answer; gives the sum in words, or null where another was selected since. */
  async function show(answer, geometry) {
    if (shown !== answer) {
      shown = answer;
      traces = new Traces(answer.trace);
    }
    if (answer.asked.tool === "pool") return pooled(answer, geometry);
    try {
      const found = await traces.at(state.at);
      return found && shown === answer ? convolved(found[state.channel] ?? found[0]) : null;
    } catch (problem) {
      if (shown === answer) view.fail(problem);
      return null;
    }
  }

  function convolved(trace) {
    const words = sumOf(trace, shown.asked.options.activation);
    grids.replaceChildren(
      factor("Window", trace.window),
      sign("·"),
      factor("Mask, as it slides", trace.mask),
      sign("="),
      factor("Products", trace.products),
    );
    sum.textContent = words.sum;
    note.textContent = words.note;
    return words.sum;
  }

  function pooled(answer, geometry) {
    const [row, column] = state.at;
    const found = answer.output[row][column];
    const value = Array.isArray(found) ? found[state.channel] : found;
    const verb = answer.asked.pool.kind === "max" ? "largest" : "mean";
    const values = inside(answer, geometry);
    grids.replaceChildren(...(values ? [factor("Window", values)] : []));
    sum.textContent = values
      ? `${verb} of ${values
          .flat()
          .map((v) => written(v))
          .join(", ")} = ${written(value, 6)}`
      : `${verb} of the brightness in the window = ${written(value, 6)}`;
    note.textContent = value === null ? "A missing value in the window makes the output missing." : "";
    return sum.textContent;
  }

  /** What of the input lies in the window; null for brightness, which is the service's to compute. */
  function inside({ image, shape, asked }, geometry) {
    if (image && shape.length < 3) return null;
    const { top, left, height, width } = windowAt(geometry, state.at);
    const [rows, columns] = [
      [top, height],
      [left, width],
    ].map(([start, extent], axis) => {
      const first = start - geometry.padding[axis][0];
      return Array.from({ length: extent }, (_, i) => first + i).filter((i) => i >= 0 && i < geometry.input[axis]);
    });
    const value = image ? (r, c) => image.data[4 * (r * image.width + c) + state.channel] : (r, c) => asked.input[r][c];
    return rows.map((r) => columns.map((c) => value(r, c)));
  }

  function clear(words) {
    shown = null;
    grids.replaceChildren();
    sum.textContent = "";
    note.textContent = words;
  }

  return { root, show, clear };
}

function factor(title, values) {
  return el("div", { class: "cv-factor" }, el("h4", {}, title), numbers(title, values));
}

const sign = (text) => el("span", { class: "cv-sign mono", "aria-hidden": "true" }, text);
