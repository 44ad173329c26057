import { el } from "../dom.js";
import { button } from "./controls.js";
import { editor } from "./grid.js";
import { LARGEST } from "./state.js";

/**
 * The mask: typed in, one that has a name, or one that a network has learned.
 * @param {object} view  state, changed(), refreshOptions() and errors of the convolve view
 * @param {object} app
 */
export function maskPanel(view, app) {
  const { state } = view;
  const masks = new Map();
  const choice = el("select", {
    id: "cv-mask-name",
    change: () => choose(choice.value),
    focus: () => masks.size || askMasks(),
  });
  const words = el("p", { class: "cv-words" });
  const grid = editor({
    label: "Mask",
    limits: [1, LARGEST.mask],
    empty: 0,
    get: () => state.mask.values,
    set: (values) => adopt({ values, name: null, kernel: null }),
  });
  const error = view.errorBox("/mask");
  view.onError("/mask", (pointer) => grid.mark(pointer));
  const root = el(
    "section",
    { class: "panel stack", "aria-label": "Mask" },
    el("h3", {}, "Mask"),
    el("div", { class: "field" }, el("label", { for: "cv-mask-name" }, "Which mask"), choice),
    grid.root,
    error,
    words,
  );

  function adopt(mask, operation = state.options.operation) {
    state.mask = mask;
    state.options.operation = operation;
    refreshWords();
    view.changed();
  }

  function choose(value) {
    const kernel = app.kernel.current;
    if (value === "own") adopt({ ...state.mask, name: null, kernel: null });
    else if (value === "kernel" && kernel) learn(kernel);
    else if (masks.has(value)) adopt({ values: masks.get(value).values, name: value, kernel: null });
    grid.refresh();
  }

  function learn({ values, model, layer, filter, channel }) {
    state.tool = "convolve";
    state.source = "picture"; // over a few typed numbers it shows nothing
    adopt({ values, name: null, kernel: { model, layer, filter, channel } }, "correlation");
    view.refresh();
    app.announce(`The mask is now ${kernelName(state.mask.kernel)}`);
  }

  function refresh() {
    grid.refresh();
    refreshWords();
  }

  function refreshWords() {
    const { name, kernel } = state.mask;
    const learned = kernel ?? app.kernel.current;
    choice.replaceChildren(
      el("option", { value: "own" }, "Your own"),
      ...(learned ? [el("option", { value: "kernel" }, `Learned: ${kernelName(learned)}`)] : []),
      el(
        "optgroup",
        { label: "By name" },
        ...[...masks.keys()].map((n) => el("option", { value: n }, n.replaceAll("_", " "))),
      ),
    );
    choice.value = kernel ? "kernel" : masks.has(name) ? name : "own";
    words.replaceChildren(...explanation(name, kernel));
  }

  function explanation(name, kernel) {
    const mask = masks.get(name);
    if (kernel)
      return [`A kernel that the network learned: ${kernelName(kernel)}. Networks correlate. `, ...flipWarning()];
    if (!mask)
      return [
        `Type any numbers, in 1 to ${LARGEST.mask} rows and columns. `,
        "The layers above lend you the kernels that a network learned.",
      ];
    const purpose = `For ${mask.purpose}. `;
    if (mask.form === "symmetric") return [purpose, "It is its own mirror image: flipped or not, it does the same."];
    return [purpose, "It is printed in the form of correlation. ", ...flipWarning()];
  }

  function flipWarning() {
    if (state.options.operation === "correlation") return ["Correlation slides it as it stands."];
    const swap = button("Use correlation", () => {
      adopt(state.mask, "correlation");
      view.refresh();
      choice.focus();
    });
    return ["Convolution will flip it first, which reverses its effect. ", swap];
  }

  async function askMasks() {
    try {
      const answer = await app.api.json({ method: "GET", path: "/masks" });
      for (const mask of answer.masks) masks.set(mask.name, mask);
      refreshWords();
    } catch (problem) {
      view.fail(problem);
    }
  }

  askMasks();
  app.kernel.subscribe((kernel) => (kernel ? learn(kernel) : refreshWords()));
  refresh();
  return { root, refresh };
}

const kernelName = ({ model, layer, filter, channel }) =>
  `${model ?? "default"} · ${layer} · filter ${filter}, channel ${channel}`;
