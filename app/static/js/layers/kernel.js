import { draw } from "../colours.js";
import { el, errorBox, newest } from "../dom.js";
import { written } from "../numbers.js";

/**
 * The kernel of one filter of a convolution, a channel at a time, which the convolve view can pick up.
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
  const of = el("span", { class: "small" }, "\u00a0");
  const canvas = el("canvas", { class: "pixelated kernel__picture", "aria-hidden": "true", width: 1, height: 1 });
  const table = el("table", { class: "kernel__numbers mono", "aria-label": "The kernel’s weights" });
  const use = el("button", { type: "button", class: "button", click: pick }, "Convolve with this kernel");
  const root = el(
    "div",
    { class: "kernel stack" },
    el("h4", {}, "Its kernel"),
    el("div", { class: "row" }, el("label", { for: "kernel-channel" }, "Input channel"), channel, of),
    error.root,
    el("div", { class: "row kernel__pair" }, canvas, table),
    el("p", { class: "small" }, "Dark is negative, bright positive; 0 is in the middle."),
    use,
  );
  const none = el("p", { class: "small kernel__none" }, "Only a convolution has kernels.");
  const box = el("div", { class: "kernel-box" }, root, none);

  const ask = newest(
    (signal) =>
      wanted &&
      app.api.json({
        method: "GET",
        path: `/models/${app.network.current.name}/layers/${wanted.layer}/kernels`,
        query: { filter: wanted.filter, channel: channel.value },
        signal,
      }),
    (answer) => {
      error.clear();
      [found] = answer.kernels;
      const { values } = found;
      found = { model: answer.model, layer: answer.layer, filter: found.filter, channel: found.channel, values };
      const most = Math.max(...values.flat().map(Math.abs));
      draw(canvas, values, -most, most);
      table.replaceChildren(
        ...values.map((row) => el("tr", {}, ...row.map((weight) => el("td", {}, written(weight))))),
      );
      use.disabled = false;
    },
    (problem) => {
      use.disabled = true;
      error.show(problem);
    },
  );

  /** Until the answer is here, there is nothing to convolve with. */
  function askAnew() {
    use.disabled = true;
    ask();
  }

  /** @param {number} filter */
  function show(filter) {
    const layer = view.layer();
    const has = layer.kind === "convolution";
    root.hidden = !has;
    none.hidden = has;
    wanted = has ? { layer: layer.name, filter } : null;
    if (!has) return;
    const channels = layer.input_shapes[0].at(-1);
    channel.max = String(channels - 1);
    if (Number(channel.value) >= channels) channel.value = "0";
    of.textContent = `of ${channels}; the map is the sum over all of them`;
    askAnew();
  }

  function pick() {
    app.kernel.set(found);
    document.getElementById("convolve")?.scrollIntoView();
  }

  return { root: box, show };
}
