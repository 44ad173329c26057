import { choices, el, errorBox, newest } from "../dom.js";
import { percent, written } from "../numbers.js";
import { namedRows } from "./rows.js";
import { sampleFile, samples } from "./samples.js";

/** A slider's place from -20 to 20 is a temperature from 1/4 to 4. @param {number} place */
const temperatureAt = (place) => 2 ** (place / 10);

/**
 * The logits of a picture and each step from them to probabilities, at any temperature.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("softmax") ?? {};
  const state = {
    model: saved.model ?? null,
    place: Number.isInteger(saved.place) ? Math.min(Math.max(saved.place, -20), 20) : 0,
  };
  /** @type {string[]} */
  let labels = [];
  /** @type {number[]} */
  let logits = [];
  const error = errorBox(() => (labels.length ? ask() : askModels()));
  const models = choices({
    legend: "Network",
    shown: true,
    name: "softmax-model",
    class: "segments",
    choose: (name) => {
      state.model = name;
      askLabels();
    },
  });
  const value = el("output", { for: "softmax-temperature" });
  const slider = el("input", {
    type: "range",
    id: "softmax-temperature",
    min: -20,
    max: 20,
    value: state.place,
    input: () => {
      state.place = Number(slider.value);
      show();
    },
  });
  const columns = ["Label", "logit z", "z / T", "e^(z / T)", "share", "as a bar"];
  const rows = namedRows("From logits to probabilities", columns, "mono");
  const said = el("p", { class: "figure__sum", "aria-live": "polite" });
  root.append(
    samples(app, "softmax-sample"),
    models.root,
    el("div", { class: "row" }, el("label", { for: "softmax-temperature" }, "Temperature T"), slider, value),
    error.root,
    rows.box,
    said,
  );

  const askModels = newest(
    (signal) => app.api.json({ method: "GET", path: "/models", signal }),
    ({ models: known }) => {
      error.clear();
      const names = known.map((/** @type {any} */ model) => model.name);
      const first = known.find((/** @type {any} */ model) => model.default) ?? known[0];
      if (!names.includes(state.model)) state.model = first.name;
      models.fill(
        names.map((/** @type {string} */ name) => ({ value: name, content: [name] })),
        state.model,
      );
      askLabels();
    },
    (problem) => error.show(problem),
  );

  const askLabels = newest(
    (signal) => app.api.json({ method: "GET", path: `/models/${state.model}`, signal }),
    (model) => {
      labels = model.labels;
      ask();
    },
    (problem) => error.show(problem),
  );

  const ask = newest(
    async (signal) => {
      if (!labels.length) return null;
      const parts = { image: await sampleFile(app, signal) };
      const query = { model: state.model, layer: "logits", decimals: 6 };
      return app.api.json({ method: "POST", path: "/feature-maps", query, parts, signal });
    },
    (answer) => {
      error.clear();
      logits = answer.layers[0].maps[0].values;
      show();
    },
    (problem) => error.show(problem),
    { pause: 50 },
  );

  function show() {
    if (!logits.length) return;
    app.link.set("softmax", state);
    const temperature = temperatureAt(state.place);
    value.textContent = written(temperature, 3);
    const powers = logits.map((logit) => Math.exp(logit / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    const order = logits
      .map((_, i) => i)
      .sort((a, b) => logits[b] - logits[a])
      .slice(0, 10);
    rows.fill(
      order.map((i) => [
        labels[i],
        written(logits[i], 3),
        written(logits[i] / temperature, 3),
        written(powers[i], 3),
        percent(powers[i] / total),
        el("meter", { class: "bar", min: 0, max: 1, value: powers[i] / total, "aria-hidden": "true" }),
      ]),
    );
    const first = `The most probable label is ${labels[order[0]]}, with ${percent(powers[order[0]] / total)}.`;
    said.textContent = `The powers add up to ${written(total, 4)}; each divided by it is the share. ${first}`;
  }

  app.sample.subscribe(() => ask());
  askModels();
}
