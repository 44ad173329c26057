import { button, toggle } from "../convolve/controls.js";
import { numbers } from "../convolve/grid.js";
import { draw } from "../colours.js";
import { el, errorBox, newest } from "../dom.js";
import { written } from "../numbers.js";
import { chart } from "./chart.js";
import { sampleFile, samples } from "./samples.js";
import { table } from "./walk.js";

const SECRETS = ["box_blur", "sharpen", "sobel_x", "emboss"];

/** Steps in one frame while it runs. */
const STRIDE = 20;

/** A run ends by itself after so many steps. */
const MOST = 2000;

/**
 * Gradient descent on one 3 x 3 mask, until it does to the picture what a secret mask did.
 *
 * The difference is the mean of half the squared differences of all outputs. Its slope with respect to a weight is the
 * mean, over the outputs, of the difference times the number that lies under that weight. The picture is first shifted
 * and scaled to a mean of 0 and a deviation of 1.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("descent") ?? {};
  const state = {
    secret: SECRETS.includes(saved.secret) ? saved.secret : "sharpen",
    rate: typeof saved.rate === "number" ? Math.min(Math.max(saved.rate, 0.01), 0.5) : 0.12,
  };
  /** @type {{input: number[][], target: number[][], secret: number[][]} | null} */
  let task = null;
  /** @type {number[][]} */
  let mask = [];
  /** @type {number[]} */
  let losses = [];
  let running = 0;
  let revealed = false;
  const error = errorBox(() => ask());
  const canvases = ["The picture", "What the unknown mask made of it", "What ours makes of it"].map((title) => ({
    title,
    canvas: el("canvas", { class: "learn-picture", role: "img", "aria-label": title, width: 1, height: 1 }),
  }));
  const masks = el("div", { class: "figure__columns" });
  const curve = el("div");
  const said = el("p", { class: "figure__sum" });
  const run = button("Run", () => (running ? stop() : start()));
  const rate = el("input", {
    type: "range",
    id: "descent-rate",
    min: 0.01,
    max: 0.5,
    step: 0.01,
    value: state.rate,
    input: () => {
      state.rate = Number(rate.value);
      value.textContent = written(state.rate);
      app.link.set("descent", state);
    },
  });
  const value = el("output", { for: "descent-rate" }, written(state.rate));
  const secret = toggle(
    "What the unknown mask does",
    SECRETS.map((name) => [name, name.replaceAll("_", " ")]),
    () => state.secret,
    (/** @type {string} */ name) => {
      state.secret = name;
      app.link.set("descent", state);
      ask();
    },
  );
  root.append(
    samples(app, "descent-sample"),
    secret.root,
    el(
      "div",
      { class: "row" },
      button("One step", () => advance(1)),
      run,
      button("Begin again", begin),
      el("label", { for: "descent-rate", class: "small" }, "Size of a step"),
      rate,
      value,
    ),
    error.root,
    el(
      "div",
      { class: "figure__columns" },
      ...canvases.map(({ title, canvas }) => el("div", {}, el("h3", {}, title), canvas)),
    ),
    masks,
    said,
    curve,
  );

  const ask = newest(
    async (signal) => {
      const options = (/** @type {object} */ more) =>
        JSON.stringify({ color: "gray", operation: "correlation", padding: "valid", ...more });
      const image = await sampleFile(app, signal);
      const request = { method: "POST", path: "/convolve", signal };
      const [{ masks }, picture] = await Promise.all([
        app.api.json({ method: "GET", path: "/masks", signal }),
        app.api.json({ ...request, parts: { image, options: options({ mask: [[1]] }) } }),
      ]);
      const values = masks.find((/** @type {any} */ mask) => mask.name === state.secret).values;
      const input = standardised(picture.output);
      const json = { input, mask: values, operation: "correlation", padding: "valid" };
      const found = await app.api.json({ ...request, json });
      return { input, target: found.output, secret: values };
    },
    (found) => {
      error.clear();
      task = found;
      begin();
    },
    (problem) => error.show(problem),
  );

  function begin() {
    stop();
    const random = seeded(7);
    mask = table(3, 3, () => Math.round(100 * (random() - 0.5)) / 100);
    losses = [];
    revealed = false;
    advance(0);
  }

  function start() {
    run.textContent = "Pause";
    running = requestAnimationFrame(frame);
  }

  function frame() {
    advance(STRIDE);
    const loss = losses[losses.length - 1];
    if (losses.length > MOST || loss < 1e-6 || !Number.isFinite(loss) || loss > 1e6) stop();
    else running = requestAnimationFrame(frame);
  }

  function stop() {
    cancelAnimationFrame(running);
    running = 0;
    run.textContent = "Run";
  }

  /** @param {number} steps */
  function advance(steps) {
    if (!task) return;
    const { input, target } = task;
    let found = slopes(input, target, mask);
    if (!losses.length) losses.push(found.loss);
    for (let step = 0; step < steps; step++) {
      mask = mask.map((row, r) => row.map((weight, c) => weight - state.rate * found.slopes[r][c]));
      found = slopes(input, target, mask);
      losses.push(found.loss);
      if (!Number.isFinite(found.loss) || found.loss > 1e6) break;
    }
    show(found.output);
  }

  /** @param {number[][]} output */
  function show(output) {
    if (!task) return;
    const { input, target, secret } = task;
    const most = Math.max(...target.flat().map(Math.abs));
    draw(canvases[0].canvas, input, -2.5, 2.5);
    draw(canvases[1].canvas, target, -most, most);
    draw(canvases[2].canvas, output, -most, most);
    masks.replaceChildren(
      el(
        "div",
        {},
        el("h3", {}, "Our mask"),
        numbers(
          "Our mask",
          mask.map((row) => row.map((weight) => Number(weight.toFixed(3)))),
        ),
      ),
      el(
        "div",
        {},
        el("h3", {}, "The unknown mask"),
        revealed
          ? numbers("The unknown mask", secret)
          : button("Show it", () => {
              revealed = true;
              show(output);
            }),
      ),
    );
    const loss = losses[losses.length - 1];
    const steps = `After ${losses.length - 1} steps the difference`;
    const runsAway = !Number.isFinite(loss) || loss > losses[0] * 10;
    said.textContent = runsAway
      ? `${steps} has grown: the steps are too large. Begin again with smaller ones.`
      : `${steps} is ${written(loss, 3)}; it was ${written(losses[0], 3)}.`;
    curve.replaceChildren(
      chart({
        label: "The difference after each step, each line a tenth of the one above",
        x: "steps",
        lines: [{ name: "difference", values: losses.map((one) => Math.log10(Math.max(one, 1e-7))) }],
        range: [-7, Math.max(1, Math.log10(losses[0]))],
        written: (power) => `10${superscript(Math.round(power))}`,
      }),
    );
  }

  app.sample.subscribe(() => ask());
}

/** The output of a mask, half the mean squared difference from the target, and its slope by each weight.
 * @param {number[][]} input @param {number[][]} target @param {number[][]} mask */
export function slopes(input, target, mask) {
  const count = target.length * target[0].length;
  const slope = table(3, 3, () => 0);
  let loss = 0;
  const output = target.map((row, r) =>
    row.map((wanted, c) => {
      let sum = 0;
      for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) sum += mask[i][j] * input[r + i][c + j];
      const difference = sum - wanted;
      loss += difference ** 2 / 2 / count;
      for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) slope[i][j] += (difference * input[r + i][c + j]) / count;
      return sum;
    }),
  );
  return { output, loss, slopes: slope };
}

/** Shifted and scaled to a mean of 0 and a deviation of 1. @param {number[][]} rows */
function standardised(rows) {
  const values = rows.flat();
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) || 1;
  return rows.map((row) => row.map((value) => (value - mean) / deviation));
}

/** Numbers from 0 to 1 that are the same at every visit (Park and Miller's generator). @param {number} seed */
export function seeded(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** @param {number} power */
const superscript = (power) =>
  String(power).replace(/[-\d]/g, (letter) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(letter)]);
