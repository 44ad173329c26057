import { ApiError } from "../api.js";
import { draw } from "../colours.js";
import { numbers } from "../convolve/grid.js";
import { scroller } from "../convolve/controls.js";
import { surface } from "../convolve/surface.js";
import { el, errorBox, newest } from "../dom.js";
import { written } from "../numbers.js";
import { firstThat, networks } from "./networks.js";
import { sampleFile, samples } from "./samples.js";
import { table } from "./walk.js";

const CHANNELS = ["Red", "Green", "Blue"];

/**
 * One value of the first convolution: the window in each channel, the filter's weights, the sums, bias and activation.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("neuron") ?? {};
  const state = { filter: Number.isInteger(saved.filter) ? saved.filter : 0, at: [12, 12] };
  /** @type {any} */
  let network = null;
  /** @type {any} */
  let found = null;
  const error = errorBox(() => (network ? ask() : askNetwork()));
  const filter = el("input", {
    type: "number",
    id: "neuron-filter",
    min: 0,
    value: state.filter,
    change: () => {
      state.filter = Math.min(Math.max(Math.round(Number(filter.value)) || 0, 0), Number(filter.max));
      filter.value = String(state.filter);
      ask();
    },
  });
  const of = el("span", { class: "small" });
  const canvas = el("canvas", { class: "cv-picture", width: 32, height: 32 });
  const map = surface((/** @type {[number, number]} */ at) => choose(at.map(Math.floor)));
  Object.assign(map.root, { tabIndex: 0 });
  map.root.setAttribute("role", "application");
  map.root.setAttribute("aria-label", "The filter’s map: the arrow keys choose a place");
  map.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    choose([state.at[0] + by[0], state.at[1] + by[1]]);
  });
  const parts = el("div", { class: "learn-parts" });
  const sum = el("p", { class: "figure__sum mono", "aria-live": "polite" });
  root.append(
    samples(app, "neuron-sample"),
    el("div", { class: "row" }, el("label", { for: "neuron-filter" }, "Filter"), filter, of),
    error.root,
    el(
      "div",
      { class: "learn-neuron" },
      el("div", {}, el("h3", {}, "Its map: choose a place"), map.root),
      el("div", { class: "stack" }, parts, sum),
    ),
  );

  const askNetwork = newest(
    async (signal) => {
      const names = (await networks(app, signal)).map(({ name }) => name);
      const { name, layers } = (await firstThat(app, names, firstOf, signal)) ?? {};
      if (!name) throw new ApiError("No network here begins with a convolution over a picture that it can show.");
      const layer = firstOf({ layers });
      return { name, layer };
    },
    (answer) => {
      network = answer;
      const filters = answer.layer.output_shape.at(-1);
      filter.max = String(filters - 1);
      if (state.filter >= filters) filter.value = String((state.filter = 0));
      of.textContent = `of ${filters}, in the layer ${answer.layer.name} of ${answer.name}`;
      ask();
    },
    (problem) => error.show(problem),
  );

  const ask = newest(
    async (signal) => {
      if (!network) return null;
      const { name, layer } = network;
      const parts = { image: await sampleFile(app, signal) };
      const maps = { method: "POST", path: "/feature-maps", parts, signal };
      const [input, output, kernels] = await Promise.all([
        app.api.json({ ...maps, query: { model: name, layer: layer.inputs[0], decimals: 6 } }),
        app.api.json({ ...maps, query: { model: name, layer: layer.name, channels: state.filter, decimals: 6 } }),
        app.api.json({
          method: "GET",
          path: `/models/${name}/layers/${layer.name}/kernels`,
          query: { filter: state.filter },
          signal,
        }),
      ]);
      const read = (/** @type {any} */ answer) => answer.layers[0].maps.map((/** @type {any} */ one) => one.values);
      return { input: read(input), output: read(output)[0], kernels };
    },
    (answer) => {
      error.clear();
      found = answer;
      show();
    },
    (problem) => error.show(problem),
    { pause: 100 },
  );

  /** @param {number[]} at */
  function choose(at) {
    if (!found) return;
    const limits = [found.output.length - 1, found.output[0].length - 1];
    state.at = at.map((index, axis) => Math.min(Math.max(index, 0), limits[axis]));
    show();
  }

  function show() {
    app.link.set("neuron", { filter: state.filter });
    const { input, output, kernels } = found;
    const { layer } = network;
    const [row, column] = state.at;
    const values = output.flat();
    draw(canvas, output, Math.min(...values), Math.max(...values));
    map.fill(canvas, output.length, output[0].length);
    map.outline({ top: row, left: column, height: 1, width: 1 });
    const { start, step } = layer.receptive_field;
    const [top, left] = [start[0] + row * step[0], start[1] + column * step[1]];
    const [height, width] = layer.kernel;
    const sums = kernels.kernels.map((/** @type {any} */ kernel) => {
      const window = table(height, width, (r, c) => input[kernel.channel][top + r]?.[left + c] ?? 0);
      const total = kernel.values
        .flat()
        .reduce(
          (/** @type {number} */ sum, /** @type {number} */ weight, /** @type {number} */ i) =>
            sum + weight * window.flat()[i],
          0,
        );
      return { window, total, weights: kernel.values, channel: kernel.channel };
    });
    parts.replaceChildren(
      ...sums.map((/** @type {any} */ { window, weights, total, channel }) => {
        const name = CHANNELS[channel] ?? `Channel ${channel}`;
        return el(
          "div",
          { class: "stack" },
          el("h3", {}, name),
          scroller(`${name}: window, scrolls`, numbers("Window", round(window))),
          scroller(
            `${name}: weights, scrolls`,
            numbers("Weights", round(weights), () => "learn-under"),
          ),
          el("p", { class: "mono" }, `adds ${written(total, 3)}`),
        );
      }),
    );
    const bias = kernels.bias?.[state.filter] ?? 0;
    const total = sums.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.total, bias);
    const terms = [...sums.map((/** @type {any} */ one) => one.total), bias].map((one) =>
      one < 0 ? `(${written(one, 3)})` : written(one, 3),
    );
    const through = layer.activation === "relu" ? `, through ReLU ${written(Math.max(0, total), 3)}` : "";
    const all = `${terms.slice(0, -1).join(" + ")} + bias ${terms.at(-1)} = ${written(total, 3)}`;
    const own = el("strong", {}, written(output[row][column], 3));
    sum.replaceChildren(`${all}${through}. The network’s own map says `, own, ".");
  }

  app.sample.subscribe(() => ask());
  askNetwork();
}

/** The convolution that a picture reaches first, through layers that keep its channels. @param {any} model */
const firstOf = ({ layers }) =>
  layers.find(
    (/** @type {any} */ { kind, input_shapes: [shape], kernel, receptive_field: field }) =>
      kind === "convolution" && shape[2] <= CHANNELS.length && kernel && field,
  );

/** @param {number[][]} rows */
const round = (rows) => rows.map((row) => row.map((value) => Number(value.toFixed(3))));
