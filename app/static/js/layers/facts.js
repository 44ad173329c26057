import { el } from "../dom.js";
import { count, size } from "../numbers.js";

/** What there is to say of a layer: how it computes, and its shapes and costs. @returns {HTMLElement[]} */
export function facts(layer) {
  const field = layer.receptive_field?.size;
  const rows = [
    ["Takes", layer.input_shapes.map(size).join(" and ")],
    ["Gives", size(layer.output_shape)],
    ["Kernel", layer.kernel && size(layer.kernel)],
    ["Stride", layer.stride && size(layer.stride)],
    ["Padding", layer.padding],
    ["Activation", layer.activation],
    ["Parameters", count(layer.parameters)],
    ["Multiply-adds", count(layer.multiply_adds)],
    ["Sees", field && `${size(field)} pixels`],
  ].filter(([, value]) => value);
  return [
    el("h3", {}, `${layer.kind[0].toUpperCase()}${layer.kind.slice(1)} `, el("code", {}, layer.name)),
    el("p", { class: "layer__how" }, layer.explanation),
    el(
      "dl",
      { class: "facts" },
      ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "mono" }, value))),
    ),
  ];
}
