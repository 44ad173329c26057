import { draw } from "../colours.js";
import { el, errorBox, legend, newest } from "../dom.js";
import { written } from "../numbers.js";
import { inRows, together } from "./features.js";

/**
 * What a layer has learned: the kernel of one filter of a convolution, a channel at a time, which the convolve view can
 * pick up; or how one output of a dense layer weighs every input.
 * @param {any} view
 * @param {any} app
 */
export function kernelPanel(view, app) {
  let wanted = null;
  let found = null;
  const error = errorBox(() => ask());
  const channel = el("input", {
    type: "number",
    id: "kernel-channel",
    min: 0,
    value: 0,
    change: askAnew,
    class: "mono",
  });
  const title = el("h4");
  const of = el("span", { class: "small" });
  const canvas = el("canvas", { class: "pixelated kernel__picture", "aria-hidden": "true", width: 1, height: 1 });
  const table = el("table", { class: "kernel__numbers mono", "aria-label": "The kernel’s weights" });
  const scale = el("p", { class: "small", "aria-live": "polite" });
  const use = el("button", { type: "button", class: "button", click: pick }, "Convolve with this kernel");
  const chooser = el("div", { class: "row" }, el("label", { for: "kernel-channel" }, "Input channel"), channel, of);
  const root = el(
    "div",
    { class: "kernel stack" },
    title,
    chooser,
    error.root,
    el("div", { class: "row kernel__pair" }, canvas, table),
    scale,
    use,
  );

  const ask = newest(
    (signal) =>
      wanted &&
      app.api.json({
        method: "GET",
        path: `/models/${wanted.network}/layers/${wanted.layer.name}/kernels`,
        query: { filter: wanted.filter, ...(isDense() ? {} : { channel: channel.value }) },
        signal,
      }),
    (answer) => {
      error.clear();
      if (isDense()) showWeights(answer.kernels.map(({ values }) => values[0][0]));
      else showKernel(answer);
    },
    (problem) => error.show(problem),
  );

  const isDense = () => wanted?.layer.kind === "dense";

  function showKernel({ model, layer, kernels: [{ filter, channel, values }] }) {
    found = { model, layer, filter, channel, values };
    paint(values);
    table.replaceChildren(...values.map((row) => el("tr", {}, ...row.map((weight) => el("td", {}, written(weight))))));
    use.disabled = false;
  }

  function showWeights(weights) {
    paint(inRows(weights, together(view.named(wanted.layer.inputs[0])), 0));
  }

  /** @param {number[][]} rows */
  function paint(rows) {
    const most = Math.max(...rows.flat().map(Math.abs));
    draw(canvas, rows, -most, most);
    scale.replaceChildren(...legend(written(-most), `${written(most)}; 0 is in the middle.`));
  }

  /** Until the answer is here, there is nothing to convolve with. */
  function askAnew() {
    use.disabled = true;
    ask();
  }

  /** @param {number} filter  of a convolution, or an output of a dense layer */
  function show(filter) {
    const layer = view.layer();
    const dense = layer.kind === "dense";
    root.hidden = !dense && layer.kind !== "convolution";
    wanted = root.hidden ? null : { network: app.network.current.name, layer, filter };
    if (root.hidden) return;
    canvas.classList.toggle("kernel__picture--wide", dense);
    for (const part of [chooser, table, use]) part.hidden = dense;
    const channels = layer.input_shapes[0].at(-1);
    title.textContent = dense ? `How feature ${filter} weighs its ${channels} inputs` : "Its kernel";
    channel.max = String(channels - 1);
    if (Number(channel.value) >= channels) channel.value = "0";
    of.textContent = `of ${channels}; the map is the sum over all of them`;
    askAnew();
  }

  function pick() {
    app.kernel.set(found);
    document.getElementById("convolve")?.scrollIntoView();
  }

  return { root, show };
}
