import { el } from "../dom.js";
import { button, calm, scroller } from "./controls.js";
import { numbers } from "./grid.js";

const STEP = 900;
const CAPTIONS = [
  "The mask as you gave it.",
  "Step 1: left and right change places.",
  "Step 2: top and bottom change places. This is what slides.",
];

/** The two steps of the flip, shown with the mask's own cells. */
export function flipPanel(view) {
  const { state } = view;
  let stage = 0;
  let timer = 0;
  const caption = el("p", { class: "cv-words", "aria-live": "polite" });
  const holder = scroller("The mask as it is flipped, scrolls");
  const play = button("Play the flip", () => (timer ? stop() : start()));
  const step = button("Step", () => {
    stop();
    show((stage + 1) % 3);
  });
  const controls = el("div", { class: "row" }, play, step);
  const root = el(
    "section",
    { class: "panel stack cv-flip", "aria-label": "The flip" },
    el("h3", {}, "The flip"),
    controls,
    holder,
    caption,
  );

  function start() {
    show(0);
    play.textContent = "Stop";
    timer = setInterval(() => (stage < 2 ? show(stage + 1) : stop()), STEP);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play the flip";
  }

  function show(next, words = CAPTIONS[next]) {
    const moved = next === stage + 1;
    stage = next;
    const values = flipped(state.mask.values, stage);
    const [row, column] = corner(values, stage);
    holder.replaceChildren(
      numbers(`Mask, ${CAPTIONS[stage]}`, values, (r, c) => (r === row && c === column ? "cv-corner" : "")),
    );
    if (caption.textContent !== words) caption.textContent = words; // said once, and not with every key
    if (moved && !calm()) animate(holder, stage);
  }

  function refresh() {
    stop();
    const flips = state.options.operation === "convolution";
    controls.hidden = !flips;
    show(0, flips ? CAPTIONS[0] : "Correlation does not flip: the mask slides as it stands.");
  }

  refresh();
  return { root, refresh };
}

/** The mask after so many of the two steps. */
function flipped(values, stage) {
  const rows = stage >= 1 ? values.map((row) => [...row].reverse()) : values;
  return stage >= 2 ? [...rows].reverse() : rows;
}

/** Where the mask's first element is by then: it is marked, so that the eye has something to follow. */
function corner(values, stage) {
  return [stage >= 2 ? values.length - 1 : 0, stage >= 1 ? values[0].length - 1 : 0];
}

/** Let every cell travel to its place from where it was before this step. */
function animate(holder, stage) {
  for (const row of holder.querySelectorAll("tr")) {
    for (const cell of row.cells) {
      const table = cell.closest("table");
      const across = table.offsetWidth - cell.offsetWidth - 2 * cell.offsetLeft;
      const down = table.offsetHeight - row.offsetHeight - 2 * row.offsetTop;
      const from = stage === 1 ? `translateX(${across}px)` : `translateY(${down}px)`;
      cell.animate([{ transform: from }, { transform: "none" }], { duration: 600, easing: "ease-in-out" });
    }
  }
}
