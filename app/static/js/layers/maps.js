import { draw } from "../colours.js";
import { el, choices } from "../dom.js";
import { written } from "../numbers.js";

/**
 * All maps of a layer, under one colour scale.
 * @param {any} view
 * @param {(channel: number) => void} choose
 * @param {(order: string) => void} reorder
 */
export function mapsPanel(view, choose, reorder) {
  let layer = null;
  const scale = el("p", { class: "small" }, "\u00a0");
  const order = choices({ legend: "Order", name: "order", class: "segments", choose: reorder });
  order.fill(
    [
      { value: "channel", content: ["By channel"] },
      { value: "active", content: ["Most active first"] },
    ],
    view.state.order,
  );
  const grid = choices({
    legend: "Maps",
    name: "channel",
    class: "maps",
    choose: (channel) => choose(Number(channel)),
  });
  const named = el("dl", { class: "named", hidden: true });
  const box = el(
    "div",
    { class: "maps-box", role: "region", "aria-label": "Feature maps", tabindex: 0 },
    named,
    grid.root,
  );
  const root = el("div", { class: "stack" }, el("div", { class: "row" }, order.root, scale), box);

  /** @param {any} found  a layer of /feature-maps */
  function show(found) {
    const maps = found.maps[0].channel === null ? [asMap(found.maps[0], view.together())] : found.maps;
    layer = {
      ...found,
      maps,
      low: Math.min(...maps.map((m) => m.minimum)),
      high: Math.max(...maps.map((m) => m.maximum)),
    };
    scale.replaceChildren(
      `${maps.length === 1 ? "One map" : `${maps.length} maps`}, one colour scale: ${written(layer.low)} `,
      el("span", { class: "scale__bar", "aria-hidden": "true" }),
      ` ${written(layer.high)}`,
    );
    named.replaceChildren(...view.labels(found.maps[0].values).map(bar));
    const hasNames = named.childElementCount > 0;
    named.hidden = !hasNames;
    order.root.hidden = scale.hidden = grid.root.hidden = hasNames;
    refresh();
  }

  function refresh() {
    if (!layer) return;
    const maps = [...layer.maps];
    if (view.state.order === "active") maps.sort((a, b) => magnitude(b) - magnitude(a));
    const chosen = layer.maps.some((map) => map.channel === view.state.channel) ? view.state.channel : maps[0].channel;
    view.state.channel = chosen;
    grid.fill(
      maps.map((map) => ({ value: map.channel, label: `Map ${map.channel}`, content: [tile(map)] })),
      chosen,
    );
  }

  function tile(map) {
    const canvas = el("canvas", { class: "pixelated", "aria-hidden": "true" });
    draw(canvas, map.values, layer.low, layer.high);
    return canvas;
  }

  /** The map that is chosen, null while those of another layer are shown. */
  const chosen = () =>
    layer?.name === view.state.layer ? layer.maps.find((map) => map.channel === view.state.channel) : null;
  return { root, show, refresh, chosen };
}

/** The output for one label, with a bar from 0 as long as it is large among all outputs. */
function bar({ label, value, share }) {
  const line = el("meter", { class: "bar", min: 0, max: 1, value: share, "aria-hidden": "true" });
  return el("div", {}, el("dt", {}, label), el("dd", {}, line, el("span", { class: "mono" }, written(value))));
}

const magnitude = ({ values }) => values.flat().reduce((sum, value) => sum + Math.abs(value), 0) / values.flat().length;

/**
 * A list of features as a map about as wide as high, the rest of the last row empty. Where each `together` features
 * belong together, as the channels at one place of a flattened map, a row holds whole groups of them.
 */
function asMap(features, together) {
  const count = features.values.length;
  const width = Math.min(count, together * Math.max(1, Math.round(Math.sqrt(count) / together)));
  const rows = Array.from({ length: Math.ceil(features.values.length / width) }, (_, r) =>
    features.values.slice(r * width, (r + 1) * width),
  );
  while (rows.at(-1).length < width) rows.at(-1).push(features.minimum);
  return { ...features, channel: 0, features: features.values.length, values: rows };
}
