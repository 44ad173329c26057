import { toggle } from "../convolve/controls.js";
import { editor } from "../convolve/grid.js";
import { displayWords } from "../convolve/words.js";
import { el, errorBox, newest } from "../dom.js";
import { sampleAt, sampleFile, samples } from "./samples.js";
import { PREFIX } from "../api.js";

/** Masks to begin with, by the names that GET /masks has. */
const MASKS = ["identity", "box_blur", "sharpen", "laplacian_8", "sobel_x", "sobel_y", "emboss"];

/**
 * A mask of one's own over a picture in grey.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("draw") ?? {};
  const state = { mask: saved.mask ?? null, display: saved.display === "clamp" ? "clamp" : "absolute" };
  const error = errorBox(() => (state.mask ? ask() : askMasks()));
  const before = el("img", { class: "learn-picture cv-gray", alt: "The picture in grey", width: 256, height: 256 });
  const after = el("img", { class: "learn-picture", alt: "", width: 256, height: 256 });
  const grid = el("div");
  const words = el("p", { class: "small" });
  const presets = el("div", { class: "row" });
  const display = toggle(
    "Below 0 and above 255",
    [
      ["absolute", "show how large"],
      ["clamp", "cut off"],
    ],
    () => state.display,
    (/** @type {string} */ value) => change({ display: value }),
  );
  root.append(
    samples(app, "draw-sample"),
    presets,
    display.root,
    error.root,
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "The picture, in grey"), before),
      el("div", {}, el("h3", {}, "The mask, as it slides"), grid),
      el("div", {}, el("h3", {}, "The result"), after, words),
    ),
  );

  const askMasks = newest(
    (signal) => app.api.json({ method: "GET", path: "/masks", signal }),
    ({ masks }) => {
      error.clear();
      const named = new Map(masks.map((/** @type {any} */ mask) => [mask.name, mask.values]));
      const begin = (/** @type {string} */ name) => {
        state.mask = named.get(name);
        draw();
        change({});
      };
      const known = MASKS.filter((name) => named.has(name));
      presets.replaceChildren(
        el("span", { class: "small" }, "Begin with"),
        ...known.map((name) =>
          el(
            "button",
            { type: "button", class: "button button--quiet button--small", click: () => begin(name) },
            name.replaceAll("_", " "),
          ),
        ),
      );
      if (state.mask) draw();
      else begin("sobel_y");
    },
    (problem) => error.show(problem),
  );

  function draw() {
    grid.replaceChildren(
      editor({
        label: "Mask drawn by hand",
        limits: [1, 7],
        empty: 0,
        get: () => state.mask,
        set: (values) => change({ mask: values }),
      }).root,
    );
  }

  const ask = newest(
    async (signal) => {
      if (!state.mask) return null;
      const { mask, display } = state;
      const options = JSON.stringify({ mask, display, color: "gray", operation: "correlation", boundary: "nearest" });
      const parts = { image: await sampleFile(app, signal), options };
      return app.api.blob({ method: "POST", path: "/convolve", accept: "image/png", parts, signal });
    },
    (found) => {
      error.clear();
      URL.revokeObjectURL(after.src);
      after.src = URL.createObjectURL(found.blob);
      after.alt = `The ${app.sample.current} under the mask`;
      words.textContent = displayWords(state.display) ?? "";
    },
    (problem) => error.show(problem),
    { pause: 150 },
  );

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    app.link.set("draw", state);
    ask();
  }

  app.sample.subscribe((/** @type {string} */ label) => {
    before.src = PREFIX + sampleAt(label);
    ask();
  });
  askMasks();
}
