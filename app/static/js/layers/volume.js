import { el } from "../dom.js";
import { size } from "../numbers.js";

/** What the colours of the layers say. */
export const KINDS = {
  weighs: "weighs neighbours: convolution",
  joins: "weighs everything: dense",
  pools: "makes maps smaller: pooling",
  rest: "changes each value, or nothing but the shape",
};

/** The key in KINDS of a layer. @param {{kind: string}} layer */
export const kindOf = ({ kind }) =>
  /convolution/.test(kind) ? "weighs" : /dense/.test(kind) ? "joins" : /pooling/.test(kind) ? "pools" : "rest";

/** The most layers that have their names written under them. */
const MOST_NAMED = 14;
/** How far up and to the right the far edges of a volume lie, as a share of its height. */
const SLANT = 0.2;

/**
 * Layers as choices: each is drawn as the volume that it gives out, and its size is written where it changes.
 * @param {any[]} layers
 */
export function volumes(layers) {
  const most = Math.max(...layers.map((layer) => sides(layer.output_shape)[0]));
  return layers.map((layer, i) => {
    const shape = size(layer.output_shape);
    const before = i ? size(layers[i - 1].output_shape) : "";
    const [channels, ...place] = [...layer.output_shape].reverse();
    const written = place.length ? [size(place.reverse()), el("br"), `× ${channels}`] : [channels];
    return {
      value: layer.name,
      label: `${layer.name}, ${layer.kind}, ${shape}`,
      content: [
        volume(layer, most),
        ...(layers.length <= MOST_NAMED ? [el("span", { class: "strip__name" }, layer.name)] : []),
        el("span", { class: "strip__size", "aria-hidden": "true" }, ...(shape === before ? ["\u00a0"] : written)),
      ],
    };
  });
}

/** Height of the map and number of channels; a list of features is one column. @returns {[number, number]} */
const sides = (shape) => (shape.length === 3 ? [shape[0], shape[2]] : [0, shape[0]]);

/** Rows upwards, columns into the depth, channels to the right (their logarithm: there are 3 to thousands). */
function volume(layer, most) {
  const [side, channels] = sides(layer.output_shape);
  const height = side ? 8 + (72 * side) / most : 6 * Math.log2(1 + channels);
  const width = side ? 2 + 2 * Math.log2(1 + channels) : 6;
  const slant = side ? SLANT * height : 3;
  const faces = [
    [0, slant, width, slant, width, slant + height, 0, slant + height],
    [0, slant, slant, 0, width + slant, 0, width, slant],
    [width, slant, width + slant, 0, width + slant, height, width, slant + height],
  ];
  const svg = svgOf("svg", {
    class: `volume volume--${kindOf(layer)}`,
    width: width + slant,
    height: height + slant,
    "aria-hidden": "true",
  });
  svg.append(...faces.map((points) => svgOf("polygon", { points: points.map((p) => p.toFixed(1)).join(" ") })));
  return svg;
}

function svgOf(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
