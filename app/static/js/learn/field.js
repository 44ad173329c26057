import { draw } from "../colours.js";
import { surface } from "../convolve/surface.js";
import { PREFIX } from "../api.js";
import { choices, el, errorBox, newest } from "../dom.js";
import { size } from "../numbers.js";
import { firstThat, networks } from "./networks.js";
import { sampleAt, sampleFile, samples } from "./samples.js";

/**
 * How much of the picture a value of each layer can see.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("field") ?? {};
  const state = { model: saved.model ?? null, layer: Number.isInteger(saved.layer) ? saved.layer : 0, at: [0.5, 0.5] };
  /** @type {any[]} */
  let layers = [];
  /** @type {number[]} */
  let side = [32, 32];
  const error = errorBox(() => (layers.length ? askMap() : askModels()));
  const models = choices({
    legend: "Network",
    shown: true,
    name: "field-model",
    class: "segments",
    choose: (name) => {
      Object.assign(state, { model: name, layer: 0 });
      askLayers();
    },
  });
  const slider = el("input", {
    type: "range",
    id: "field-layer",
    min: 0,
    value: 0,
    input: () => {
      state.layer = Number(slider.value);
      tell();
      askMap();
    },
  });
  const about = el("p", { class: "figure__sum", "aria-live": "polite" });
  const image = el("img", {
    class: "cv-picture",
    alt: "The picture, with the receptive field outlined",
    width: 256,
    height: 256,
  });
  const canvas = el("canvas", { class: "cv-picture", width: 1, height: 1 });
  const picture = surface();
  const map = surface((/** @type {[number, number]} */ at) => point(at));
  map.root.tabIndex = 0;
  map.root.setAttribute("role", "application");
  map.root.setAttribute("aria-label", "The layer’s most active map: the arrow keys choose a place");
  map.root.addEventListener(
    "pointermove",
    (/** @type {PointerEvent} */ event) => event.pointerType === "mouse" && point(map.point(event)),
  );
  map.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const [row, column] = place();
    point([row + by[0] + 0.5, column + by[1] + 0.5]);
  });
  const columns = el(
    "div",
    { class: "figure__columns" },
    el("div", {}, el("h3", {}, "The layer’s most active map"), map.root),
    el("div", {}, el("h3", {}, "What that place can see"), picture.root),
  );
  root.append(
    samples(app, "field-sample"),
    models.root,
    el("div", { class: "row" }, el("label", { for: "field-layer" }, "Layer"), slider),
    about,
    error.root,
    columns,
  );

  const askModels = newest(
    async (signal) => {
      const names = (await networks(app, signal)).map(({ name }) => name);
      if (!names.includes(state.model))
        state.model = (await firstThat(app, names, (model) => mapsOf(model).length, signal))?.name ?? names[0];
      return names;
    },
    (names) => {
      error.clear();
      models.fill(
        names.map((/** @type {string} */ name) => ({ value: name, content: [name] })),
        state.model,
      );
      askLayers();
    },
    (problem) => error.show(problem),
  );

  const askLayers = newest(
    (signal) => app.api.json({ method: "GET", path: `/models/${state.model}`, signal }),
    (model) => {
      error.clear();
      side = [model.input.size, model.input.size];
      layers = mapsOf(model);
      columns.hidden = !layers.length;
      if (!layers.length) {
        about.textContent = `${state.model} has no layer whose maps and receptive field are known.`;
        return;
      }
      state.layer = Math.min(state.layer, layers.length - 1);
      slider.max = String(layers.length - 1);
      slider.value = String(state.layer);
      tell();
      askMap();
    },
    (problem) => error.show(problem),
  );

  const askMap = newest(
    async (signal) => {
      if (!layers.length) return null;
      const query = { model: state.model, layer: layers[state.layer].name, top: 1, decimals: 3 };
      const parts = { image: await sampleFile(app, signal) };
      return app.api.json({ method: "POST", path: "/feature-maps", query, parts, signal });
    },
    (answer) => {
      error.clear();
      const [{ values, minimum, maximum }] = answer.layers[0].maps;
      draw(canvas, values, minimum, maximum);
      map.fill(canvas, values.length, values[0].length);
      mark();
    },
    (problem) => error.show(problem),
    { pause: 100 },
  );

  function tell() {
    app.link.set("field", { model: state.model, layer: state.layer });
    const { name, kind, output_shape: shape, receptive_field: field } = layers[state.layer];
    const seen = field.size.map((/** @type {number} */ one, /** @type {number} */ axis) => Math.min(one, side[axis]));
    const sees = `Each value sees ${size(seen)} of the picture’s ${size(side)} pixels.`;
    about.textContent = `${name}, ${kind}: ${size(shape)}. ${sees}`;
    slider.setAttribute("aria-valuetext", name);
    mark();
  }

  const shape = () => layers[state.layer].output_shape;
  const place = () => state.at.map((share, axis) => Math.min(Math.floor(share * shape()[axis]), shape()[axis] - 1));

  /** @param {number[]} at in rows and columns of the map */
  function point(at) {
    if (!layers.length) return;
    state.at = at.map((index, axis) => Math.min(Math.max(index / shape()[axis], 0), 0.999));
    mark();
  }

  function mark() {
    const at = place();
    map.outline({ top: at[0], left: at[1], height: 1, width: 1 });
    const field = layers[state.layer].receptive_field;
    const [rows, columns] = [0, 1].map((axis) => {
      const first = field.start[axis] + at[axis] * field.step[axis];
      const from = Math.max(first, 0);
      return [from, Math.min(first + field.size[axis], side[axis]) - from];
    });
    picture.outline({ top: rows[0], height: rows[1], left: columns[0], width: columns[1] });
  }

  picture.fill(image, ...side);
  app.sample.subscribe((/** @type {string} */ label) => {
    image.src = PREFIX + sampleAt(label);
    askMap();
  });
  askModels();
}

/** The layers whose output is maps of the picture. @param {any} model */
const mapsOf = ({ layers }) =>
  layers.filter(
    (/** @type {any} */ { kind, output_shape: shape, receptive_field: field }) =>
      shape.length === 3 && field && kind !== "dropout",
  );
