import { el } from "../dom.js";
import { toggle } from "./controls.js";

const CONVOLVE = [
  [
    "padding",
    "Padding",
    {
      same: "same size as the input",
      valid: "valid: only inside",
      full: "full: any overlap",
      number: "a number",
    },
  ],
  ["amount", "Padding on each side"],
  [
    "boundary",
    "Beyond the border",
    {
      constant: "constant value",
      reflect: "reflect: c b a | a b c",
      mirror: "mirror: c b | a b c",
      nearest: "nearest: a a | a b c",
      wrap: "wrap: b c | a b c",
    },
  ],
  ["fill_value", "Constant value"],
  ["stride", "Stride"],
  ["dilation", "Dilation"],
  ["missing", "Missing values", { propagate: "spread to the output", ignore: "are ignored", zero: "count as 0" }],
  ["activation", "Activation", { none: "none", relu: "ReLU", sigmoid: "sigmoid", tanh: "tanh" }],
];
const POOL = [
  ["kind", "Take", { max: "the largest (max)", average: "the mean (average)" }],
  ["size", "Window size"],
  ["stride", "Stride (empty: window size)"],
  ["padding", "Padding", { valid: "valid: only inside", same: "same: windows overhang" }],
];
/** Which field of a request a control sets, where its name differs. */
const FIELD = { amount: "padding" };

/** How to convolve. */
export function convolvePanel(view) {
  const { state } = view;
  const values = () => state.options;
  const operation = toggle(
    "Operation",
    [
      ["convolution", "Convolution"],
      ["correlation", "Correlation"],
    ],
    () => state.options.operation,
    (value) => {
      state.options.operation = value;
      view.refresh();
      view.changed();
    },
  );
  const fields = CONVOLVE.map(([name, label, choices]) => field(view, "convolve", values, name, label, choices));
  const normalize = check(view);
  const root = el(
    "section",
    { class: "panel stack cv-wide", "aria-label": "How to convolve" },
    el("h3", {}, "How"),
    operation.root,
    el("div", { class: "cv-fields" }, ...fields.map((f) => f.root), normalize.root),
  );
  function refresh() {
    [operation, ...fields, normalize].forEach((control) => control.refresh());
    const shown = { amount: state.options.padding === "number", fill_value: state.options.boundary === "constant" };
    for (const { name, input } of fields) if (name in shown) input.disabled = !shown[name];
  }
  refresh();
  return { root, refresh };
}

/** How to pool. */
export function poolPanel(view) {
  const fields = POOL.map(([name, label, choices]) => field(view, "pool", () => view.state.pool, name, label, choices));
  const root = el(
    "section",
    { class: "panel stack", "aria-label": "How to pool" },
    el("h3", {}, "Window"),
    el("p", { class: "cv-words" }, "Pooling has no mask: it keeps one value of each window, so the output is smaller."),
    el("div", { class: "cv-fields" }, ...fields.map((f) => f.root)),
  );
  return { root, refresh: () => fields.forEach((f) => f.refresh()) };
}

function field(view, tool, values, name, label, choices) {
  const id = `cv-${tool}-${name}`;
  const set = (event) => {
    values()[name] = event.target.value;
    view.refreshOptions();
    view.changed();
  };
  const input = choices
    ? el(
        "select",
        { id, change: set },
        ...Object.entries(choices).map(([value, text]) => el("option", { value }, text)),
      )
    : el("input", { id, class: "mono", inputmode: "decimal", autocomplete: "off", input: set });
  const pointer = `/${FIELD[name] ?? name}`;
  const shares = name === "padding" && tool === "convolve";
  const error = shares ? "" : view.errorBox(pointer, tool);
  if (!shares) {
    input.setAttribute("aria-describedby", error.id);
    view.onError(pointer, (at) => input.setAttribute("aria-invalid", String(at !== undefined)), tool);
  }
  const refresh = () => {
    if (input.value !== values()[name]) input.value = values()[name];
  };
  refresh();
  return { name, input, refresh, root: el("div", { class: "field" }, el("label", { for: id }, label), input, error) };
}

function check(view) {
  const { options } = view.state;
  const input = el("input", {
    type: "checkbox",
    change: () => {
      view.state.options.normalize = input.checked;
      view.changed();
    },
  });
  const refresh = () => (input.checked = view.state.options.normalize);
  input.checked = options.normalize;
  const label = el("label", { class: "cv-check" }, input, el("span", {}, "Normalize: divide the mask by its sum"));
  return { refresh, root: el("div", { class: "field" }, label, view.errorBox("/normalize", "convolve")) };
}
