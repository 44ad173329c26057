import { draw } from "../colours.js";
import { el, choices, legend } from "../dom.js";
import { written } from "../numbers.js";
import { inRows, together } from "./features.js";

/** The share of the values, at either end, that may lie outside the colour scale. */
const RARE = 0.01;

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
      { value: "active", content: ["Most active first"] },
      { value: "channel", content: ["By channel"] },
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
    const maps = found.maps[0].channel === null ? [asMap(found.maps[0], together(view.layer()))] : found.maps;
    layer = { ...found, maps, ...range(maps) };
    const still = maps.filter((map) => map.minimum === map.maximum).length;
    scale.replaceChildren(
      ...legend(
        `${maps.length === 1 ? "One map" : `${maps.length} maps`}, one colour scale: ${written(layer.low)} or less`,
        `${written(layer.high)} or more.`,
      ),
      ...(still && maps.length > 1 ? [` ${still} of them are the same everywhere.`] : []),
    );
    named.replaceChildren(...view.labels(found.maps[0].values).map(bar));
    const hasNames = named.childElementCount > 0;
    named.hidden = !hasNames;
    scale.hidden = grid.root.hidden = hasNames;
    order.root.hidden = maps.length === 1;
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

/** The least and the greatest value, but for the rarest: a few bright spots would leave all else dark. */
function range(maps) {
  const values = Float32Array.from(maps.flatMap((map) => map.values.flat())).sort();
  const at = (share) => values[Math.round(share * (values.length - 1))];
  const [low, high] = [at(RARE), at(1 - RARE)];
  return low < high ? { low, high } : { low: values[0], high: values[values.length - 1] };
}

const magnitude = ({ values }) => values.flat().reduce((sum, value) => sum + Math.abs(value), 0) / values.flat().length;

/** The features of a layer whose output is a list of them as the one map of channel 0. */
function asMap(features, group) {
  const values = inRows(features.values, group, features.minimum);
  return { ...features, channel: 0, features: features.values.length, values };
}
