import { choices, el, errorBox, newest } from "../dom.js";
import { percent } from "../numbers.js";
import { chart } from "./chart.js";
import { seeded } from "./descent.js";
import { namedRows } from "./rows.js";
import { sampleFile, samples } from "./samples.js";

const SIDE = 32;

/** The strengths at which a curve is measured, as shares of the slider. */
const STRENGTHS = [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1];

/**
 * Ways to disturb a picture. `words` says what a strength from 0 to 1 is; `apply` draws onto a canvas of 32 x 32.
 * @typedef {{words: (strength: number) => string, apply: (canvas: HTMLCanvasElement, strength: number) => void}} Way
 * @type {Record<string, Way>}
 */
const WAYS = {
  noise: {
    words: (strength) => `noise with a deviation of ${Math.round(40 * strength)} of 255`,
    apply: (canvas, strength) => each(canvas, (value, _, random) => value + 40 * strength * normal(random)),
  },
  blur: {
    words: (strength) => `blurred over ${(3 * strength).toFixed(1)} pixels`,
    apply: (canvas, strength) => redraw(canvas, `blur(${3 * strength}px)`),
  },
  contrast: {
    words: (strength) => `contrast of ${Math.round(100 * (1 - 0.9 * strength))} %`,
    apply: (canvas, strength) => each(canvas, (value, mean) => mean + (value - mean) * (1 - 0.9 * strength)),
  },
  darkness: {
    words: (strength) => `brightness of ${Math.round(100 * (1 - 0.9 * strength))} %`,
    apply: (canvas, strength) => each(canvas, (value) => value * (1 - 0.9 * strength)),
  },
  patch: {
    words: (strength) => `a grey patch ${Math.round(20 * strength)} pixels wide`,
    apply: (canvas, strength) => {
      const side = Math.round(20 * strength);
      const context = context2d(canvas);
      context.fillStyle = "#808080";
      context.fillRect((SIDE - side) / 2, (SIDE - side) / 2, side, side);
    },
  },
};

/**
 * A picture with a disturbance of any strength, and how probable each network finds its label.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("breaks") ?? {};
  const state = {
    way: Object.hasOwn(WAYS, saved.way) ? saved.way : "noise",
    strength: typeof saved.strength === "number" ? Math.min(Math.max(saved.strength, 0), 1) : 0.25,
  };
  const error = errorBox(() => ask());
  const canvas = el("canvas", { class: "learn-picture", role: "img", width: SIDE, height: SIDE });
  const ways = choices({
    legend: "What happens to the picture",
    shown: true,
    name: "breaks-way",
    class: "segments",
    choose: (name) => change({ way: name }),
  });
  ways.fill(
    Object.keys(WAYS).map((name) => ({ value: name, content: [name] })),
    state.way,
  );
  const slider = el("input", {
    type: "range",
    id: "breaks-strength",
    min: 0,
    max: 100,
    value: 100 * state.strength,
    input: () => change({ strength: Number(slider.value) / 100 }),
  });
  const words = el("span", { class: "small" });
  const answers = namedRows("What the networks say", ["Network", "says", "with", "unlike its training pictures"]);
  const curve = el("div");
  root.append(
    samples(app, "breaks-sample"),
    ways.root,
    el("div", { class: "row" }, el("label", { for: "breaks-strength" }, "Strength"), slider, words),
    error.root,
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "What the networks are shown"), canvas),
      answers.box,
    ),
    curve,
  );

  const ask = newest(
    async (signal) => {
      const bitmap = await createImageBitmap(await sampleFile(app, signal));
      const { models } = await app.api.json({ method: "GET", path: "/models", signal });
      const shown = await disturbed(bitmap, state.way, state.strength);
      const files = await Promise.all(
        STRENGTHS.map(async (strength) => (await disturbed(bitmap, state.way, strength)).png),
      );
      bitmap.close();
      const parts = Object.fromEntries([shown.png, ...files].map((file, i) => [`picture${i}`, file]));
      const found = await Promise.all(
        models.map(async (/** @type {any} */ { name }) => {
          const query = { model: name, top_k: 10 };
          const { predictions } = await app.api.json({ method: "POST", path: "/predict", query, parts, signal });
          return { name, predictions };
        }),
      );
      return { shown, found };
    },
    ({ shown, found }) => {
      error.clear();
      context2d(canvas).drawImage(shown.canvas, 0, 0);
      show(found);
    },
    (problem) => error.show(problem),
    { pause: 120, root: curve },
  );

  /** @param {{name: string, predictions: any[]}[]} found */
  function show(found) {
    const label = app.sample.current;
    const said = WAYS[state.way].words(state.strength);
    canvas.setAttribute("aria-label", `The ${label}, ${said}`);
    words.textContent = said;
    answers.fill(
      found.map(({ name, predictions: [first] }) => [
        name,
        [first.label === label ? "✓ " : "✗ ", el("strong", {}, first.label)],
        el("span", { class: "mono" }, percent(first.probability)),
        first.is_ood ? "yes" : "no",
      ]),
    );
    const probability = (/** @type {any} */ prediction) =>
      prediction.top.find((/** @type {any} */ one) => one.label === label)?.probability ?? 0;
    curve.replaceChildren(
      el("h3", {}, `How probable “${label}” is, by strength`),
      chart({
        label: `The probability of ${label} for each network, from no ${state.way} to the most`,
        x: "strength",
        lines: found
          .slice(0, 3)
          .map(({ name, predictions }) => ({ name, values: predictions.slice(1).map(probability) })),
        range: [0, 1],
        written: (value) => `${Math.round(100 * value)} %`,
        ticks: ["none", "half", "most"],
      }),
    );
  }

  /** @param {object} part */
  function change(part) {
    Object.assign(state, part);
    app.link.set("breaks", state);
    ask();
  }

  app.sample.subscribe(() => ask());
}

/**
 * @param {ImageBitmap} bitmap
 * @param {string} way
 * @param {number} strength
 * @returns {Promise<{canvas: HTMLCanvasElement, png: Blob}>}
 */
async function disturbed(bitmap, way, strength) {
  const canvas = el("canvas", { width: SIDE, height: SIDE });
  context2d(canvas).drawImage(bitmap, 0, 0, SIDE, SIDE);
  if (strength) WAYS[way].apply(canvas, strength);
  return new Promise((resolve) => canvas.toBlob((/** @type {Blob} */ png) => resolve({ canvas, png }), "image/png"));
}

/** @param {HTMLCanvasElement} canvas */
const context2d = (canvas) =>
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));

/**
 * Give every value another: by itself, the mean of all, and random numbers that are the same each time.
 * @param {HTMLCanvasElement} canvas
 * @param {(value: number, mean: number, random: () => number) => number} become
 */
function each(canvas, become) {
  const context = context2d(canvas);
  const image = context.getImageData(0, 0, SIDE, SIDE);
  const random = seeded(11);
  const values = image.data.filter((_, i) => i % 4 < 3);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  for (let i = 0; i < image.data.length; i++) if (i % 4 < 3) image.data[i] = become(image.data[i], mean, random);
  context.putImageData(image, 0, 0);
}

/** @param {HTMLCanvasElement} canvas @param {string} filter */
function redraw(canvas, filter) {
  const copy = el("canvas", { width: SIDE, height: SIDE });
  context2d(copy).drawImage(canvas, 0, 0);
  const context = context2d(canvas);
  context.filter = filter;
  context.drawImage(copy, 0, 0);
  context.filter = "none";
}

/** A number of the normal distribution (Box and Muller 1958). @param {() => number} random */
const normal = (random) => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
