import { el } from "../dom.js";
import { button, scroller } from "./controls.js";
import { cell } from "./state.js";
import { written } from "../numbers.js";
import { counted } from "./words.js";

/**
 * An editable grid of numbers with buttons for its rows and columns.
 * @param {{label: string, limits: [number, number], empty: number, get: () => any[][],
 *          set: (values: any[][]) => void}} options  `limits` are the least and the greatest size along each direction
 */
export function editor({ label, limits, empty, get, set }) {
  const body = el("tbody");
  const size = { rows: el("span", { class: "cv-size__count" }), columns: el("span", { class: "cv-size__count" }) };
  const root = el(
    "div",
    { class: "stack" },
    scroller(`${label}, scrolls`, el("table", { class: "cv-grid cv-grid--edit", "aria-label": label }, body)),
    el("div", { class: "row cv-sizes" }, sizer("rows"), sizer("columns")),
  );

  function sizer(axis) {
    const change = (by) => () => {
      set(resized(get(), axis, by, limits, empty));
      refresh();
    };
    const noun = axis.slice(0, -1);
    const aria = (verb) => ({
      class: "button button--quiet cv-small",
      "aria-label": `${verb} a ${noun}: ${label.toLowerCase()}`,
    });
    return el(
      "span",
      { class: "cv-size" },
      button("−", change(-1), aria("Remove")),
      size[axis],
      button("+", change(1), aria("Add")),
    );
  }

  function refresh() {
    const values = get();
    body.replaceChildren(...values.map((row, r) => el("tr", {}, ...row.map((_, c) => el("td", {}, input(r, c))))));
    size.rows.textContent = counted(values.length, "row");
    size.columns.textContent = counted(values[0].length, "column");
  }

  function input(r, c) {
    const value = get()[r][c];
    return el("input", {
      class: "mono",
      inputmode: "decimal",
      autocomplete: "off",
      "aria-label": `${label}: row ${r + 1} column ${c + 1}`,
      "data-cell": `${r}/${c}`,
      value: value === null ? "" : written(value, 3).replace("−", "-"),
      input: (event) =>
        set(get().map((row, i) => row.map((v, j) => (i === r && j === c ? cell(event.target.value) : v)))),
      keydown: (event) => move(event, r, c),
      focus: (event) => event.target.select(),
    });
  }

  function move(event, r, c) {
    const { selectionStart, selectionEnd, value } = event.target;
    const whole = selectionStart === 0 && selectionEnd === value.length;
    const to = {
      ArrowUp: [r - 1, c],
      ArrowDown: [r + 1, c],
      Enter: [r + 1, c],
      ArrowLeft: whole || selectionEnd === 0 ? [r, c - 1] : null,
      ArrowRight: whole || selectionStart === value.length ? [r, c + 1] : null,
    }[event.key];
    const next = to && body.querySelector(`[data-cell="${to[0]}/${to[1]}"]`);
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  /** Mark the cell of a JSON pointer such as /mask/0/1 as wrong, and no other. */
  function mark(pointer) {
    const path = pointer?.split("/").slice(2).join("/");
    for (const field of body.querySelectorAll("input"))
      field.setAttribute("aria-invalid", String(field.dataset.cell === path));
  }

  refresh();
  return { root, refresh, mark };
}

function resized(values, axis, by, [least, most], empty) {
  const length = axis === "rows" ? values.length : values[0].length;
  if (length + by < least || length + by > most) return values;
  if (axis === "rows") return by < 0 ? values.slice(0, -1) : [...values, values[0].map(() => empty)];
  return values.map((row) => (by < 0 ? row.slice(0, -1) : [...row, empty]));
}

/**
 * A table of numbers to look at.
 * @param {string} label
 * @param {any[][]} values
 * @param {(r: number, c: number) => string} [classes] of one cell
 */
export function numbers(label, values, classes = () => "") {
  const rows = values.map((row, r) =>
    el(
      "tr",
      {},
      ...row.map((v, c) =>
        el(
          "td",
          { class: `${classes(r, c)} ${v === null ? "cv-missing" : ""}`.trim() },
          v === null ? missing() : written(v),
        ),
      ),
    ),
  );
  const table = el("table", { class: "cv-grid mono", "aria-label": label }, el("tbody", {}, ...rows));
  // Columns of one width, for the outline of the window is placed by shares of the table.
  const longest = Math.max(...values.flat().map((v) => (v === null ? 1 : written(v).length)));
  table.style.setProperty("--cv-cell", `${Math.max(2.75, 0.55 * longest + 0.75)}rem`);
  return table;
}

const missing = () =>
  el("span", {}, el("span", { "aria-hidden": "true" }, "∅"), el("span", { class: "visually-hidden" }, "missing"));
