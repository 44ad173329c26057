import { el } from "../dom.js";
import { button, scroller, toggle } from "./controls.js";
import { numbers } from "./grid.js";
import { geometryOf, outputUnder, paddedShape, source, windowAt } from "./padding.js";
import { padded, surface } from "./surface.js";
import { sumPanel } from "./sum.js";

/** Milliseconds per step while it plays. */
const SPEEDS = { 1000: "slow", 250: "normal", 60: "fast" };
const HINT = "Drag the window, or point at an output; the arrow keys move over the output.";
/** The most cells that are drawn as a table. */
const MOST_CELLS = 3000;

/** The window over the input, step by step, and the output it makes. */
export function slidePanel(view, app) {
  const { state } = view;
  let answer = null;
  let geometry = null;
  let timer = 0;

  const input = surface((point) => answer && choose(outputUnder(geometry, answer.shape, point)));
  const output = surface((point) => choose(point.map(Math.floor)));
  const table = el("div");
  const sum = sumPanel(view);
  const position = el("p", { class: "cv-position mono" });
  const play = button("Play", () => (timer ? stop() : start()));
  const speed = el(
    "select",
    { id: "cv-speed", change: () => timer && start() },
    ...Object.entries(SPEEDS).map(([step, label]) =>
      el("option", { value: step, selected: label === "normal" }, label),
    ),
  );
  const previous = button("Previous", () => step(-1));
  const next = button("Next", () => step(1));
  const channel = toggle(
    "Channel",
    [
      [0, "Red"],
      [1, "Green"],
      [2, "Blue"],
    ],
    () => state.channel,
    (value) => {
      state.channel = value;
      view.saved();
      if (answer) refreshOutput();
    },
  );
  const inputPane = pane("Input with its padding", scroller("Input with its padding, scrolls", input.root));
  const outputPane = pane("Output", scroller("Output, scrolls", table, output.root));
  const stage = el("div", { class: "cv-stage" }, inputPane, outputPane);
  const hint = el("p", { class: "cv-words cv-hint" }, HINT);
  const root = el(
    "section",
    { class: "panel stack", "aria-label": "The slide" },
    el("h3", {}, "The slide"),
    el(
      "div",
      { class: "row" },
      previous,
      play,
      next,
      el("label", { class: "small", for: "cv-speed" }, "Speed"),
      speed,
      position,
    ),
    channel.root,
    stage,
    hint,
    sum.root,
  );
  output.root.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && answer) choose(output.point(event).map(Math.floor));
  });
  output.root.addEventListener("keydown", arrows);
  output.root.setAttribute("role", "application");
  output.root.setAttribute("aria-roledescription", "output picture");
  output.root.setAttribute("aria-label", "Output as a picture: the arrow keys choose a pixel");
  output.root.tabIndex = 0;

  function step(by) {
    if (answer) choose(stepped(by), true);
  }

  function stepped(by) {
    const [rows, columns] = answer.shape;
    const count = rows * columns;
    const index = (state.at[0] * columns + state.at[1] + by + count) % count;
    return [Math.floor(index / columns), index % columns];
  }

  function start() {
    if (!answer) return;
    clearInterval(timer);
    play.textContent = "Pause";
    if (atEnd()) select([0, 0]);
    timer = setInterval(() => (atEnd() ? stop() : select(stepped(1))), Number(speed.value));
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  const atEnd = () => stepped(1).every((index) => index === 0);

  /** The visitor chose an output: what plays stops. */
  function choose(at, speak = false) {
    if (!answer) return;
    stop();
    const inside = at.map((index, axis) => Math.min(Math.max(index, 0), answer.shape[axis] - 1));
    if (speak || inside.join() !== state.at.join()) select(inside, speak);
  }

  async function select(at, speak = false) {
    state.at = at;
    view.saved();
    mark();
    const text = await sum.show(answer, geometry);
    if (speak) say(text);
  }

  /** @param {string | null} text  the sum of the selected output, null where another was selected since */
  function say(text) {
    const [row, column] = state.at;
    if (text) app.announce(`Output row ${row + 1}, column ${column + 1}: ${spoken(text)}`);
  }

  function mark() {
    const [row, column] = state.at;
    position.textContent = `row ${row + 1} of ${answer.shape[0]}, column ${column + 1} of ${answer.shape[1]}`;
    input.outline(windowAt(geometry, state.at));
    output.outline({ top: row, left: column, height: 1, width: 1 });
    const old = table.querySelector("[aria-selected=true]");
    old?.setAttribute("aria-selected", "false");
    old?.setAttribute("tabindex", "-1");
    const cell = table.querySelector(`[data-at="${row},${column}"]`);
    cell?.setAttribute("aria-selected", "true");
    cell?.setAttribute("tabindex", "0");
  }

  function arrows(event) {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by || !answer) return;
    event.preventDefault();
    choose([state.at[0] + by[0], state.at[1] + by[1]], true);
    if (table.contains(event.target)) table.querySelector("[aria-selected=true]")?.focus();
  }

  /**
   * @param {object} given  an answer of the service, the state it was `asked` with, `image` pixels of the picture or
   *                        null, `url` of the output's PNG
   * @returns {Promise<string | null>} what to `say` of it
   */
  function show(given) {
    answer = given;
    hint.textContent = HINT;
    const { input: grid } = given.asked;
    const size = given.image ? [given.image.height, given.image.width] : [grid.length, grid[0].length];
    geometry = geometryOf(given.applied, size);
    state.at = state.at.map((index, axis) => Math.min(index, given.shape[axis] - 1));
    view.saved();
    stage.hidden = false;
    input.fill(drawnInput(), ...paddedShape(geometry));
    channel.root.hidden = given.shape.length < 3;
    return refreshOutput();
  }

  function refreshOutput() {
    const grid = !answer.image && answer.shape[0] * answer.shape[1] <= MOST_CELLS;
    const focused = table.contains(document.activeElement);
    table.replaceChildren(...(grid ? [outputTable()] : []));
    output.root.hidden = grid;
    if (!grid)
      output.fill(el("img", { src: answer.url, alt: "", class: "cv-picture", draggable: "false" }), ...answer.shape);
    mark();
    if (focused) table.querySelector("[aria-selected=true]")?.focus();
    return sum.show(answer, geometry);
  }

  function outputTable() {
    const result = numbers("Output", answer.output);
    result.setAttribute("role", "grid");
    result.querySelectorAll("tr").forEach((row, r) =>
      [...row.cells].forEach((cell, c) => {
        cell.setAttribute("role", "gridcell");
        cell.setAttribute("aria-selected", "false");
        cell.setAttribute("tabindex", "-1");
        cell.dataset.at = `${r},${c}`;
      }),
    );
    const at = (event) => event.target.closest("[data-at]")?.dataset.at.split(",").map(Number);
    result.addEventListener("pointerover", (event) => event.pointerType === "mouse" && at(event) && choose(at(event)));
    result.addEventListener("click", (event) => at(event) && choose(at(event)));
    result.addEventListener("keydown", arrows);
    return result;
  }

  function drawnInput() {
    const { boundary } = answer.applied;
    const fill = Number(answer.asked.options.fill_value) || 0;
    const [rows, columns] = paddedShape(geometry);
    if (answer.image) {
      const drawn = padded(answer.image, geometry, boundary, fill);
      drawn.classList.toggle("cv-gray", answer.shape.length < 3);
      return drawn;
    }
    if (rows * columns > MOST_CELLS) return el("p", { class: "cv-words" }, "Too much padding to draw.");
    return paddedTable(rows, columns, boundary, fill);
  }

  function paddedTable(rows, columns, boundary, fill) {
    const [[top], [left]] = geometry.padding;
    const index = (i, axis) => source(i - geometry.padding[axis][0], geometry.input[axis], boundary);
    const outside = (r, c) => r < top || r >= top + geometry.input[0] || c < left || c >= left + geometry.input[1];
    const value = (r, c) => {
      const [row, column] = [index(r, 0), index(c, 1)];
      if (!boundary && outside(r, c)) return "";
      return row === null || column === null ? fill : answer.asked.input[row][column];
    };
    const values = Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => value(r, c)));
    return numbers("Input with its padding", values, (r, c) => (outside(r, c) ? "cv-padding" : ""));
  }

  /** There is nothing to slide over. */
  function clear(words) {
    stop();
    answer = null;
    position.textContent = "";
    hint.textContent = "";
    stage.hidden = true;
    channel.root.hidden = true;
    sum.clear(words);
  }

  /** What is set now was refused. */
  function outdated() {
    stop();
    if (answer) hint.textContent = "What is shown is the last result that could be computed.";
  }

  const refresh = () => {
    stop();
    channel.refresh();
  };
  return { root, show, say, clear, outdated, refresh };
}

/** A sum that is too long to listen to is said by its result alone. */
function spoken(sum) {
  return sum.length > 120 ? sum.slice(sum.lastIndexOf("= ") + 2) : sum;
}

function pane(title, ...children) {
  return el("div", { class: "cv-pane" }, el("h4", {}, title), ...children);
}
