import { toggle } from "../convolve/controls.js";
import { pixels } from "../convolve/surface.js";
import { draw } from "../colours.js";
import { ApiError } from "../api.js";
import { choices, el, errorBox, legend, newest } from "../dom.js";
import { percent, written } from "../numbers.js";
import { chart } from "./chart.js";
import { decode, maps } from "./checkpoint.js";
import { sampleFile, samples } from "./samples.js";
import { table } from "./walk.js";
import { stepper } from "./steps.js";

/** What each run is called, and what it does about overfitting. @type {Record<string, string>} */
const WORDS = {
  nothing: "Nothing is done against overfitting.",
  dropout: "Dropout: in each update, values chosen at random are set to 0, so that none can rely on another.",
  "weight decay": "Weight decay: each update also draws every weight a little towards 0.",
};

/**
 * One training, epoch by epoch: its loss and accuracy, what the first two layers do with a picture, and what the
 * network says of it. The weights come from a file; their maps are computed here.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("film") ?? {};
  const state = {
    run: typeof saved.run === "string" ? saved.run : "nothing",
    stops: saved.stops === true,
    epoch: Number.isInteger(saved.epoch) ? saved.epoch : 0,
    filter: Number.isInteger(saved.filter) ? saved.filter : 0,
  };
  /** @type {any} */
  let film = null;
  /** @type {Record<string, import("./checkpoint.js").Checkpoint[]>} */
  let checkpoints = {};
  /** The sample's red, green and blue from 0 to 1. @type {number[][][] | null} */
  let picture = null;
  const run = () => film.runs[state.run];
  const last = () => (state.stops ? run().stopping.stopped : run().epochs.length - 1);
  const error = errorBox(() => (film ? askPicture() : askFilm()));
  const body = el("div", { class: "figure__parts", hidden: true });
  const about = el("p", { class: "small" });
  const said = el("p", { class: "figure__sum" });
  const runs = el("div");
  const stops = toggle(
    "Early stopping: end when the loss on unseen pictures has not improved for two epochs",
    [
      ["off", "off"],
      ["on", "on"],
    ],
    () => (state.stops ? "on" : "off"),
    (/** @type {string} */ value) => change({ stops: value === "on" }),
  );
  const steps = stepper({
    count: () => (film ? last() + 1 : 1),
    at: () => state.epoch,
    go: (epoch) => show({ epoch }),
    noun: "epoch",
    say: () => (film ? `epoch ${state.epoch} of ${last()}` : ""),
    speeds: true,
  });
  const slider = el("input", {
    type: "range",
    min: 0,
    "aria-label": "Epoch",
    input: () => {
      steps.stop();
      show({ epoch: Number(slider.value) });
    },
  });
  steps.root.append(slider);
  const curves = el("div", { class: "figure__columns" });
  const masks = choices({
    legend: "The first layer’s masks, in red, green and blue: choose one to see its map",
    shown: true,
    name: "film-filter",
    class: "film-masks",
    choose: (filter) => show({ filter: Number(filter) }),
  });
  /** @type {HTMLCanvasElement[]} */
  let tiles = [];
  const first = el("canvas", { class: "learn-picture", role: "img", width: 1, height: 1 });
  const second = el("div", { class: "film-maps" });
  const answers = el("tbody");
  body.append(
    el("div", { class: "stack" }, runs, about, stops.root),
    steps.root,
    said,
    curves,
    samples(app, "film-sample"),
    masks.root,
    el(
      "div",
      { class: "figure__columns" },
      el("div", {}, el("h3", {}, "The mask’s map of the picture"), first),
      el("div", {}, el("h3", {}, "Four maps of the second layer"), second),
      el(
        "div",
        {},
        el("h3", {}, "What the network says of it"),
        el("table", { class: "learn-table", "aria-label": "The most probable labels at this epoch" }, answers),
      ),
    ),
    el("p", { class: "small" }, "In each map: ", ...legend("0", "its largest value")),
  );
  root.append(error.root, body);

  const askFilm = newest(
    (signal) => app.api.json({ method: "GET", path: "/static/film/tutorial.json", signal }),
    (found) => {
      error.clear();
      film = found;
      if (!Object.hasOwn(film.runs, state.run)) state.run = Object.keys(film.runs)[0];
      checkpoints = Object.fromEntries(Object.entries(film.runs).map(([name, one]) => [name, decode(one)]));
      body.hidden = false;
      runs.append(
        toggle(
          "What is done against overfitting",
          Object.keys(film.runs).map((name) => [name, name]),
          () => state.run,
          (/** @type {string} */ name) => change({ run: name }),
        ).root,
      );
      const filters = checkpoints[state.run][0][0].bias.shape[0];
      state.filter = Math.min(Math.max(state.filter, 0), filters - 1);
      tiles = Array.from({ length: filters }, () => el("canvas", { width: 3, height: 3, class: "film-mask" }));
      masks.fill(
        tiles.map((tile, filter) => ({ value: filter, label: `Mask ${filter}`, content: [tile] })),
        state.filter,
      );
      change({});
      askPicture();
    },
    (problem) =>
      error.show(
        problem.status === 404
          ? new ApiError("This service has no film of a training. `convoscope film` makes one.", problem)
          : problem,
      ),
    { root },
  );

  const askPicture = newest(
    (signal) => (film ? sampleFile(app, signal).then(pixels).then(channels) : null),
    (found) => {
      error.clear();
      picture = found;
      show({});
    },
    (problem) => error.show(problem),
  );

  /** Another run, or another end of it. @param {object} part */
  function change(part) {
    Object.assign(state, part);
    steps.stop();
    about.textContent = WORDS[state.run] ?? "";
    slider.max = String(last());
    show({});
  }

  /** @param {object} part of the state */
  function show(part) {
    Object.assign(state, part);
    state.epoch = Math.min(Math.max(state.epoch, 0), last());
    app.link.set("film", state);
    slider.value = String(state.epoch);
    slider.setAttribute("aria-valuetext", `epoch ${state.epoch}`);
    said.textContent = told(film, state);
    showCurves();
    showNetwork();
    steps.refresh();
  }

  function showCurves() {
    const { epochs, stopping } = run();
    const shown = epochs.slice(0, last() + 1);
    const plain = film.runs.nothing?.epochs;
    const marks = [
      { at: state.epoch, name: "" },
      ...(state.stops ? [{ at: stopping.kept, name: `kept: epoch ${stopping.kept}` }] : []),
    ];
    const lines = (/** @type {string} */ figure) => [
      { name: "pictures it learns from", values: shown.map((/** @type {any} */ one) => one[figure]) },
      { name: "pictures it has never seen", values: shown.map((/** @type {any} */ one) => one[`val_${figure}`]) },
      ...(state.run === "nothing" || !plain
        ? []
        : [
            {
              name: "never seen, with nothing done",
              values: plain.map((/** @type {any} */ one) => one[`val_${figure}`]),
            },
          ]),
    ];
    const common = { x: "epochs", marks, count: epochs.length };
    const top = Math.max(...lines("loss").flatMap(({ values }) => values));
    curves.replaceChildren(
      el(
        "div",
        {},
        el("h3", {}, "Share recognised"),
        chart({
          ...common,
          label: `The share of pictures recognised after each epoch, up to epoch ${state.epoch} marked`,
          lines: lines("accuracy"),
          range: [0, 1],
          written: (value) => `${Math.round(100 * value)} %`,
        }),
      ),
      el(
        "div",
        {},
        el("h3", {}, "Loss"),
        chart({
          ...common,
          label: `The loss after each epoch, epoch ${state.epoch} marked`,
          lines: lines("loss"),
          range: [0, Math.ceil(2 * top) / 2],
          written: (value) => written(value, 2),
        }),
      ),
    );
  }

  function showNetwork() {
    const network = checkpoints[state.run][state.epoch];
    const ever = Math.max(...checkpoints[state.run].map(([{ kernel }]) => kernel.values.reduce(largest, 0)));
    tiles.forEach((tile, filter) => drawMask(tile, network[0].kernel, filter, ever));
    if (!picture) return;
    const lower = maps(picture, network[0], film.layers[0].padding);
    const upper = maps(lower, network[1], film.layers[1].padding);
    drawMap(first, lower[state.filter], `The map of mask ${state.filter}`);
    second.replaceChildren(
      ...upper.map((map, i) => {
        const canvas = el("canvas", { class: "learn-picture", role: "img" });
        drawMap(canvas, map, `The map of the second layer’s filter ${run().filters[i]}`);
        return canvas;
      }),
    );
    const shares = run().epochs[state.epoch].answers[film.labels.indexOf(app.sample.current)];
    const order = film.labels
      .map((/** @type {string} */ _, /** @type {number} */ i) => i)
      .sort((/** @type {number} */ a, /** @type {number} */ b) => shares[b] - shares[a])
      .slice(0, 5);
    answers.replaceChildren(
      ...order.map((/** @type {number} */ i) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, film.labels[i]),
          el("td", {}, percent(shares[i] / 1000)),
          el("td", {}, el("meter", { class: "bar", min: 0, max: 1000, value: shares[i], "aria-hidden": "true" })),
        ),
      ),
    );
  }

  app.sample.subscribe(() => askPicture());
  askFilm();
}

/** The figures of an epoch in words, and what they mean. @param {any} film @param {any} state */
function told(film, { run: name, stops, epoch }) {
  const { epochs, stopping } = film.runs[name];
  const { accuracy, val_accuracy: unseen } = epochs[epoch];
  const counts = Object.values(film.pictures).map((count) => count.toLocaleString("en"));
  const figures =
    `${percent(accuracy)} of the ${counts[0]} pictures that it learns from, ` +
    `and ${percent(unseen)} of ${counts[1]} that it has never seen.`;
  if (epoch === 0) return `Before the first update the weights are random. It recognises ${figures}`;
  const losses = epochs.map((/** @type {any} */ one) => one.val_loss);
  const best = losses.indexOf(Math.min(...losses.slice(0, epoch + 1)));
  const after = `After ${epoch === 1 ? "one epoch" : `${epoch} epochs`} it recognises ${figures}`;
  if (stops && epoch === stopping.stopped) {
    const share = percent(epochs[stopping.kept].val_accuracy);
    const kept = `the weights of epoch ${stopping.kept} are kept, with ${share} of the unseen pictures`;
    return `${after} The training ends here, and ${kept}.`;
  }
  if (best === epoch) return `${after} The loss on those is the lowest so far.`;
  return (
    `${after} The loss on those was lowest after epoch ${best}; since then it has learned single pictures by heart. ` +
    "That is overfitting."
  );
}

/** @param {number} most @param {number} value */
const largest = (most, value) => Math.max(most, Math.abs(value));

/**
 * A mask of three channels as a picture: grey is 0, a brighter red a weight for red, a darker red one against it.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./checkpoint.js").Tensor} kernel
 * @param {number} filter
 * @param {number} most  the weight that is drawn brightest
 */
function drawMask(canvas, { shape: [height, width, channels, filters], values }, filter, most) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    const weight = (/** @type {number} */ channel) => values[(i * channels + channel) * filters + filter];
    image.data.set([...[0, 1, 2].map((channel) => 128 + (127 * weight(channel)) / most), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** @param {HTMLCanvasElement} canvas @param {number[][]} map @param {string} words */
function drawMap(canvas, map, words) {
  const most = Math.max(...map.flat());
  draw(canvas, map, 0, most);
  canvas.setAttribute("aria-label", `${words}, up to ${written(most, 3)}`);
}

/** A picture’s red, green and blue, from 0 to 1. @param {ImageData} image */
const channels = ({ data, width, height }) =>
  [0, 1, 2].map((channel) => table(height, width, (r, c) => data[4 * (r * width + c) + channel] / 255));
