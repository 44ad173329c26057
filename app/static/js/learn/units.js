import { toggle } from "../convolve/controls.js";
import { choices, el, errorBox, newest } from "../dom.js";
import { percent, written } from "../numbers.js";
import { firstThat, networks } from "./networks.js";
import { namedRows } from "./rows.js";
import { sampleFile, samples } from "./samples.js";

/** Pixels of the screen for each pixel of a picture. */
const SCALE = 3;

/**
 * What units of a network look for: the test pictures that excite each most, one that was made for it, and how much
 * the sample excites it.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("units") ?? {};
  const state = {
    model: typeof saved.model === "string" ? saved.model : null,
    layer: typeof saved.layer === "string" ? saved.layer : null,
    crop: saved.crop === true,
  };
  /** @type {any} */
  let model = null;
  /** What is known of the model's layers. @type {any[]} */
  let layers = [];
  /** The pictures of the layer that is shown. @type {ImageBitmap | null} */
  let sheet = null;
  /** How much the sample excites each of the layer's units. @type {Map<number, number>} */
  let excited = new Map();
  const error = errorBox(() => (model?.name !== state.model ? askNetworks() : sheet ? askSample() : askSheet()));
  const models = choices({
    legend: "Network",
    shown: true,
    name: "units-model",
    class: "segments",
    choose: (name) => {
      state.model = name;
      askNetworks();
    },
  });
  const layer = choices({
    legend: "Layer, from the first to the last",
    shown: true,
    name: "units-layer",
    class: "segments",
    choose: (name) => {
      state.layer = name;
      app.link.set("units", state);
      sheet = null;
      askSheet();
    },
  });
  const crop = toggle(
    "Show",
    [
      ["whole", "whole pictures"],
      ["seen", "only what the unit saw"],
    ],
    () => (state.crop ? "seen" : "whole"),
    (/** @type {string} */ value) => {
      state.crop = value === "seen";
      show();
    },
  );
  const said = el("p", { class: "figure__sum", "aria-live": "polite" });
  const columns = /** @type {(string | [string, number])[]} */ ([
    "Unit",
    "made for it",
    ["test pictures that excite it most", 6],
    "your picture",
  ]);
  const rows = namedRows("What each unit looks for, scrolls", columns, "units");
  const body = el("div", { class: "figure__parts", hidden: true }, layer.root, crop.root, rows.box);
  const none = el("p", { class: "figure__sum", hidden: true });
  root.append(samples(app, "units-sample"), models.root, error.root, none, body, said);

  const askNetworks = newest(
    async (signal) => {
      const names = (await networks(app, signal)).map(({ name }) => name);
      const wanted = names.includes(state.model) ? [state.model] : names;
      const found = await firstThat(app, wanted, (one) => one.units, signal);
      const looked = found && (await app.api.json({ method: "GET", path: fileOf(found, found.units), signal }));
      return { names, found, name: found?.name ?? wanted[0], looked };
    },
    ({ names, found, name, looked }) => {
      error.clear();
      state.model = name;
      models.fill(
        names.map((one) => ({ value: one, content: [one] })),
        name,
      );
      model = found;
      sheet?.close();
      sheet = null;
      body.hidden = !found;
      none.hidden = Boolean(found);
      none.textContent =
        `Nobody has found out what the units of ${name} look for. ` + `The command “convoscope units ${name}” does it.`;
      said.textContent = "";
      if (!found) return;
      layers = looked.layers;
      const named = layers.map((one) => one.layer);
      if (!named.includes(state.layer)) state.layer = named[0];
      layer.fill(
        named.map((one) => ({ value: one, content: [one] })),
        state.layer,
      );
      askSheet();
    },
    (problem) => error.show(problem),
    { root },
  );

  const shown = () => layers.find((one) => one.layer === state.layer);

  const askSheet = newest(
    async (signal) => {
      const { blob } = await app.api.blob({ method: "GET", path: fileOf(model, shown().file), signal });
      return createImageBitmap(blob);
    },
    (found) => {
      error.clear();
      sheet?.close();
      sheet = found;
      excited = new Map();
      show();
      askSample();
    },
    (problem) => error.show(problem),
  );

  /** What the layer’s units say to the sample. @param {AbortSignal} signal */
  async function maps(signal) {
    const query = { model: model.name, layer: state.layer ?? "", decimals: 4 };
    const parts = { image: await sampleFile(app, signal) };
    const answer = await app.api.json({ method: "POST", path: "/feature-maps", query, parts, signal });
    return answer.layers[0].maps;
  }

  const askSample = newest(
    (signal) => sheet && model && maps(signal),
    (maps) => {
      if (!sheet) return; // another layer’s is on its way, or could not be had
      error.clear();
      excited = new Map(
        maps.flatMap((/** @type {any} */ map) =>
          map.channel === null
            ? map.values.map((/** @type {number} */ value, /** @type {number} */ i) => [map.units?.[i] ?? i, value])
            : [[map.channel, map.maximum]],
        ),
      );
      show();
    },
    (problem) => error.show(problem),
    { pause: 100 },
  );

  function show() {
    if (!sheet || !model) return;
    app.link.set("units", state);
    const { units } = shown();
    const field = fieldOf(model, state.layer);
    crop.root.hidden = !field;
    rows.fill(units.map((/** @type {any} */ one, /** @type {number} */ row) => unitRow(one, row, field)));
    const shares = units.map((/** @type {any} */ { unit, examples: [best] }) => (excited.get(unit) ?? 0) / best.value);
    const most = shares.indexOf(Math.max(...shares));
    said.textContent =
      excited.size && shares[most] > 0
        ? `Of these units, the ${app.sample.current} excites ${nameOf(units[most].unit)} most, next to the test ` +
          `pictures: ${percent(Math.min(1, shares[most]))} of what the best of them does.`
        : "";
  }

  const nameOf = (/** @type {number} */ unit) =>
    model.labels.length === model.layers.find((/** @type {any} */ one) => one.name === state.layer)?.output_shape[0]
      ? model.labels[unit]
      : `unit ${unit}`;

  /** @param {any} unit @param {number} row @param {any} field */
  function unitRow({ unit, made, examples }, row, field) {
    const tiles = [{ ...made, label: "made" }, ...examples];
    const own = excited.get(unit);
    return [
      nameOf(unit),
      ...tiles.map((tile, column) => [
        picture(row, column, tile, field),
        el("span", { class: "small mono" }, written(tile.value, 3)),
      ]),
      el("span", { class: "mono" }, own === undefined ? "" : written(own, 3)),
    ];
  }

  /** @param {number} row @param {number} column @param {any} tile @param {any} field */
  function picture(row, column, { label, value, place }, field) {
    const side = model.input.size;
    const seen = field && place ? field(place) : null;
    const whole = { left: 0, top: 0, width: side, height: side };
    const { left, top, width, height } = (state.crop || column === 0) && seen ? seen : whole;
    const canvas = el("canvas", {
      width: SCALE * side,
      height: SCALE * side,
      role: "img",
      "aria-label": `${label}, ${written(value, 3)}`,
      title: label,
    });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.imageSmoothingEnabled = false;
    const from = [column * side + left, row * side + top];
    context.drawImage(
      /** @type {ImageBitmap} */ (sheet),
      from[0],
      from[1],
      width,
      height,
      0,
      0,
      canvas.width,
      canvas.height,
    );
    if (seen && width === side) {
      context.strokeStyle = "#fff";
      context.lineWidth = 3;
      context.strokeRect(SCALE * seen.left - 1, SCALE * seen.top - 1, SCALE * seen.width + 2, SCALE * seen.height + 2);
      context.strokeStyle = "#000";
      context.lineWidth = 1;
      context.strokeRect(SCALE * seen.left - 2, SCALE * seen.top - 2, SCALE * seen.width + 4, SCALE * seen.height + 4);
    }
    return canvas;
  }

  app.sample.subscribe(() => askSample());
  askNetworks();
}

/** Where the service has a file of a network. @param {{name: string}} model @param {string} name */
const fileOf = (model, name) => `/models/${model.name}/files/${name}`;

/**
 * Which pixels a place on a layer's map sees; null where it sees all or nobody knows.
 * @param {any} model
 * @param {string | null} name
 */
function fieldOf({ layers, input: { size } }, name) {
  const found = layers.find((/** @type {any} */ layer) => layer.name === name)?.receptive_field;
  if (!found || found.size.some((/** @type {number} */ length) => length >= size)) return null;
  return (/** @type {number[]} */ place) => {
    const [[top, height], [left, width]] = [0, 1].map((axis) => {
      const first = found.start[axis] + place[axis] * found.step[axis];
      const from = Math.max(first, 0);
      return [from, Math.min(first + found.size[axis], size) - from];
    });
    return { top, left, height, width };
  };
}
