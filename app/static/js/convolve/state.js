/**
 * What the visitor has set, as it is kept in the link, and the requests that follow from it.
 *
 * @typedef {number | null | string} Cell  null is a missing value; a string is what could not be read as a number
 * @typedef {{values: Cell[][], name: string | null, kernel: object | null}} Mask
 * @typedef {{source: "array" | "picture", tool: "convolve" | "pool", input: Cell[][], mask: Mask,
 *            options: Record<string, string | boolean>, pool: Record<string, string>, color: string, display: string,
 *            channel: number, at: [number, number]}} State
 */

const OPTIONS = {
  operation: "convolution",
  padding: "same",
  amount: "1",
  boundary: "constant",
  fill_value: "0",
  stride: "1",
  dilation: "1",
  normalize: false,
  missing: "propagate",
  activation: "none",
};
/** What the other fields of the state can be. */
/** @type {Record<string, (string | number)[]>} */
const CHOICES = {
  source: ["array", "picture"],
  tool: ["convolve", "pool"],
  color: ["rgb", "gray"],
  display: ["auto", "clamp", "absolute", "rescale"],
  channel: [0, 1, 2],
};
/** The most rows and columns that can be typed in. */
export const LARGEST = { input: 12, mask: 7 };
const POOL = { kind: "max", size: "2", stride: "", padding: "valid" };

/** The tutorial's example, whose first output is 52. */
/** @returns {Pick<State, "source" | "tool" | "input" | "mask" | "options" | "at">} */
const example = () => ({
  source: "array",
  tool: "convolve",
  input: [
    [2, 4, 6],
    [8, 10, 12],
    [14, 16, 18],
  ],
  mask: {
    values: [
      [1, 2, 3],
      [4, 5, 6],
      [7, 8, 9],
    ],
    name: null,
    kernel: null,
  },
  options: { ...OPTIONS },
  at: [0, 0],
});

/** @returns {State} */
function initial() {
  return { ...example(), pool: { ...POOL }, color: "rgb", display: "auto", channel: 0 };
}

/** Back to the tutorial's example; how pictures are displayed stays. @param {State} state */
export function toExample(state) {
  Object.assign(state, example());
}

/** The state a link holds, or the initial one where it holds none or something else. @returns {State} */
export function restored(saved) {
  const state = initial();
  if (!saved || !isGrid(saved.input, LARGEST.input) || !isGrid(saved.mask?.values, LARGEST.mask) || !isPlace(saved.at))
    return state;
  for (const [key, choices] of Object.entries(CHOICES)) if (choices.includes(saved[key])) state[key] = saved[key];
  for (const key of ["input", "mask", "at"]) state[key] = saved[key];
  state.options = { ...state.options, ...alike(saved.options, OPTIONS) };
  state.pool = { ...state.pool, ...alike(saved.pool, POOL) };
  return state;
}

/** Those of the fields that are of the standard ones' kind. */
function alike(fields, standard) {
  return Object.fromEntries(
    Object.entries(fields ?? {}).filter(([name, value]) => typeof value === typeof standard[name]),
  );
}

const isPlace = (at) =>
  Array.isArray(at) && at.length === 2 && at.every((index) => Number.isInteger(index) && index >= 0);

/** Rows of cells, as many in each, and no more in either direction than `most`. */
function isGrid(rows, most) {
  const fits = (list) => Array.isArray(list) && list.length > 0 && list.length <= most;
  return fits(rows) && rows.every((row) => fits(row) && row.length === rows[0].length && row.every(isCell));
}

const isCell = (value) => value === null || typeof value === "string" || Number.isFinite(value);

/** What a cell's text means: a number, null if it is empty, else the text itself, which the service will reject. */
export function cell(text) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const number = Number(trimmed.replace("−", "-")); // a true minus sign, as this page itself writes it
  return Number.isFinite(number) ? number : trimmed;
}

/** A number, or one an axis where there are several with commas between. */
function perAxis(text) {
  return text.includes(",") ? text.split(",").map(cell) : cell(text);
}

/**
 * The request for what is set.
 * @param {State} state
 * @param {{blob: Blob} | null} picture  null before the first: such a request cannot be sent yet
 * @param {{trace?: boolean, accept?: string}} [wanted]
 */
export function request(state, picture, { trace = false, accept } = {}) {
  /** @type {Record<string, any>} */
  const fields = state.tool === "pool" ? poolFields(state) : convolveFields(state);
  if (trace && state.tool === "convolve") fields.trace = { at: state.at };
  if (accept === "image/png" && displayOf(state) !== "clamp") fields.display = displayOf(state);
  const base = { method: "POST", path: state.tool === "pool" ? "/pool" : "/convolve", accept };
  if (state.source === "array") return { ...base, json: { input: state.input, ...fields } };
  if (state.color !== "rgb") fields.color = state.color;
  return { ...base, parts: { image: picture?.blob, options: JSON.stringify(fields) } };
}

/**
 * How numbers become pixels; `auto` chooses so that there is something to see. Numbers that were typed in lie anywhere,
 * so they are stretched. On a picture, a mask whose sum is 1 keeps the brightness, and one whose sum is 0 finds edges.
 * @param {State} state
 */
export function displayOf({ display, source, tool, mask, options }) {
  if (display !== "auto") return display;
  if (source === "array") return "rescale";
  if (tool === "pool" || options.normalize) return "clamp";
  const weights = mask.values.flat().map(Number);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const size = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  if (Math.abs(sum - 1) < 0.01) return "clamp";
  return Math.abs(sum) <= 0.01 * size ? "absolute" : "rescale";
}

function convolveFields({ mask, options }) {
  const given = {
    operation: options.operation,
    padding: options.padding === "number" ? perAxis(options.amount) : options.padding,
    boundary: options.boundary,
    fill_value: options.boundary === "constant" ? cell(options.fill_value) : 0,
    stride: perAxis(options.stride),
    dilation: perAxis(options.dilation),
    normalize: options.normalize,
    missing: options.missing,
    activation: options.activation,
  };
  return {
    mask: mask.kernel ?? mask.name ?? mask.values,
    ...without(given, { ...OPTIONS, fill_value: 0, stride: 1, dilation: 1 }),
  };
}

function poolFields({ pool }) {
  const given = {
    kind: pool.kind,
    size: perAxis(pool.size),
    stride: pool.stride.trim() === "" ? null : perAxis(pool.stride),
    padding: pool.padding,
  };
  return { kind: given.kind, ...without(given, { kind: given.kind, size: 2, stride: null, padding: "valid" }) };
}

/** The fields that differ from their defaults: a copied request says what was chosen and no more. */
function without(fields, defaults) {
  return Object.fromEntries(Object.entries(fields).filter(([name, value]) => value !== defaults[name]));
}
