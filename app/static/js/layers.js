import { el, choices, errorBox, newest } from "./dom.js";
import { detailPanel } from "./layers/detail.js";
import { facts } from "./layers/facts.js";
import { mapsPanel } from "./layers/maps.js";
import { KINDS, volumes } from "./layers/volume.js";

/**
 * The network as a row of volumes, one for each layer, the maps of the one that is chosen, and one map in detail.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("layers") ?? {};
  const state = {
    layer: saved.layer,
    channel: saved.channel ?? null,
    at: saved.at ?? null,
    order: saved.order === "channel" ? "channel" : "active",
  };
  let layers = [];
  const error = errorBox(() => askLayers());
  const strip = choices({
    legend: "Layers, from the picture to the answer",
    name: "layer",
    class: "strip",
    choose: (layer) => choose({ layer, channel: null, at: null }),
  });
  const about = el("div", { class: "layer__facts stack" });
  const named = (name) => layers.find((layer) => layer.name === name);
  let labels = [];
  const view = {
    state,
    changed,
    named,
    layer: () => named(state.layer),
    /** The values with their labels where there is one value per label, else none. @param {any[]} values */
    labels: (values) => {
      if (values.length !== labels.length || typeof values[0] !== "number") return [];
      const least = Math.min(0, ...values);
      const range = Math.max(...values) - least || 1;
      return values.map((value, i) => ({ label: labels[i], value, share: (value - least) / range }));
    },
  };
  const maps = mapsPanel(
    view,
    (channel) => choose({ channel, at: null }),
    (order) => choose({ order }),
  );
  const detail = detailPanel(view, app);
  const code = el("div");
  const request = () => ({
    method: "POST",
    path: "/feature-maps",
    query: { model: app.model.current, layer: state.layer, decimals: view.layer()?.output_shape.length === 1 ? 9 : 3 },
    parts: { image: app.picture.current?.blob },
  });
  app.code(code, request);
  const none = el("p", { hidden: true }, "This network does not show its layers.");
  const box = el("div", { class: "strip-box", role: "region", "aria-label": "The network", tabindex: 0 }, strip.root);
  const panels = [
    el(
      "div",
      { class: "panel stack" },
      box,
      el(
        "ul",
        { class: "row small legend", "aria-label": "Colours of the layers" },
        ...Object.entries(KINDS).map(([kind, words]) => el("li", { class: `legend__${kind}` }, words)),
      ),
    ),
    el("div", { class: "layer" }, el("div", { class: "panel stack layer__maps" }, about, maps.root, code), detail.root),
  ];
  root.append(error.root, none, ...panels);

  const askLayers = newest(
    (signal) =>
      app.model.current ? app.api.json({ method: "GET", path: `/models/${app.model.current}`, signal }) : null,
    (model) => {
      error.clear();
      ({ layers, labels } = model);
      app.network.set(model);
      for (const panel of panels) panel.hidden = !layers.length;
      none.hidden = layers.length > 0;
      if (!view.layer()) {
        const first = layers.find((layer) => layer.kind === "convolution") ?? layers[0];
        Object.assign(state, { layer: first?.name, channel: null, at: null });
      }
      strip.fill(volumes(layers), state.layer);
      const chosen = strip.root.querySelector(".choice:has(:checked)");
      if (chosen) box.scrollLeft = chosen.offsetLeft - box.clientWidth / 2; // a link may name one far to the right
      if (layers.length) choose({});
    },
    (problem) => error.show(problem),
    { root },
  );

  const askMaps = newest(
    (signal) => {
      const known = app.network.current?.name === app.model.current; // else the layers are of another network
      return app.picture.current && known && view.layer() ? app.api.json({ ...request(), signal }) : null;
    },
    (answer) => {
      error.clear();
      maps.show(answer.layers[0]);
      detail.show(maps.chosen());
    },
    (problem) => error.show(problem),
    { root },
  );

  /** Take over what was chosen, and ask again where it is another layer. */
  function choose(part) {
    Object.assign(state, part);
    changed();
    if (part.layer || !Object.keys(part).length) {
      about.replaceChildren(...facts(view.layer()));
      askMaps();
    } else {
      if (part.order) maps.refresh();
      detail.show(maps.chosen());
    }
  }

  function changed() {
    app.link.set("layers", state);
  }

  app.model.subscribe(askLayers);
  app.picture.subscribe(askMaps);
}
