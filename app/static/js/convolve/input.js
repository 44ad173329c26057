import { el } from "../dom.js";
import { button, toggle } from "./controls.js";
import { editor } from "./grid.js";
import { LARGEST } from "./state.js";
import { shrunk } from "./surface.js";

/** How long the longer side of a picture becomes that is made smaller to see its sums. */
const SMALL = 64;

/** What is convolved: numbers typed in, or the picture that the page shows. */
export function inputPanel(view, app) {
  const { state } = view;
  let small = null;
  const source = toggle(
    "Input",
    [
      ["array", "Numbers"],
      ["picture", "The picture"],
    ],
    () => state.source,
    (value) => {
      state.source = value;
      refresh();
      view.changed();
    },
  );
  const grid = editor({
    label: "Input",
    limits: [1, LARGEST.input],
    empty: 0,
    get: () => state.input,
    set: (values) => {
      state.input = values;
      view.changed();
    },
  });
  const color = toggle(
    "Colour",
    [
      ["rgb", "Each channel"],
      ["gray", "Brightness"],
    ],
    () => state.color,
    (value) => {
      state.color = value;
      view.changed();
    },
  );
  const words = el("p", { class: "cv-words" });
  const image = el("img", { class: "cv-picture cv-thumbnail", alt: "The picture that is convolved" });
  const shrink = button(`Make it smaller: ${SMALL} pixels`, makeSmall);
  const save = el("a", { class: "button button--quiet", download: "picture-small.png" }, "Save the smaller picture");
  const array = el(
    "div",
    { class: "stack" },
    grid.root,
    el("p", { class: "cv-words" }, "An empty cell is a missing value."),
  );
  const picture = el("div", { class: "stack" }, image, words, el("div", { class: "row" }, shrink, save), color.root);
  const root = el(
    "section",
    { class: "panel stack", "aria-label": "Input" },
    el("h3", {}, "Input"),
    source.root,
    array,
    picture,
    view.errorBox("/input"),
  );
  view.onError("/input", (pointer) => grid.mark(pointer));

  /** The picture to send: the page's own, or what was made of it. */
  function current() {
    const whole = app.picture.current;
    return small && small.of === whole ? small : whole;
  }

  async function makeSmall() {
    const of = app.picture.current;
    const { png, width, height } = await shrunk(of.blob, SMALL);
    const blob = new File([png], "picture-small.png", { type: "image/png" });
    if (small) URL.revokeObjectURL(small.url);
    small = { of, blob, name: blob.name, url: URL.createObjectURL(blob), width, height };
    const focused = document.activeElement === shrink;
    refresh();
    if (focused) save.focus();
    view.changed();
  }

  function refresh() {
    source.refresh();
    color.refresh();
    grid.refresh();
    array.hidden = state.source !== "array";
    picture.hidden = state.source !== "picture";
    const [whole, shown] = [app.picture.current, current()];
    image.hidden = !shown;
    if (shown) image.src = shown.url;
    shrink.hidden = !whole || shown !== whole || Math.max(whole.width, whole.height) <= SMALL;
    save.hidden = !shown || shown === whole;
    if (!save.hidden) save.href = shown.url;
    words.textContent = whole
      ? `${shown.name}, ${shown === whole ? `${whole.width} × ${whole.height}` : "made smaller"}`
      : "Choose a picture first.";
  }

  refresh();
  return { root, refresh, picture: current };
}
