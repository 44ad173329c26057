import { scroller } from "../convolve/controls.js";
import { el } from "../dom.js";

/**
 * A table of named rows, in a region that scrolls by itself.
 * @param {string} label  what the region is called
 * @param {(string | [string, number])[]} columns  the names of the columns; with a number, of so many together
 * @param {string} [more]  further classes
 */
export function namedRows(label, columns, more = "") {
  const root = el("tbody");
  const heads = columns.map((column) => {
    const [words, span] = typeof column === "string" ? [column, undefined] : column;
    return el("th", { scope: span ? "colgroup" : "col", colspan: span }, words);
  });
  const table = el("table", { class: `learn-table ${more}` }, el("thead", {}, el("tr", {}, ...heads)), root);
  return {
    box: scroller(label, table),
    root,
    /** @param {(Node | string | (Node | string)[])[][]} rows  of each, its name and its cells */
    fill(rows) {
      const cells = (/** @type {any[]} */ values) => values.map((value) => el("td", {}, ...[value].flat()));
      root.replaceChildren(
        ...rows.map(([name, ...values]) =>
          el("tr", {}, el("th", { scope: "row" }, ...[name].flat()), ...cells(values)),
        ),
      );
    },
  };
}
