import { draw } from "../colours.js";
import { el, legend, over } from "../dom.js";
import { percent, written } from "../numbers.js";
import { kernelPanel } from "./kernel.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * One map, enlarged: its statistics, its kernel, and which pixels of the picture a value of it comes from.
 * @param {any} view
 * @param {any} app
 */
export function detailPanel(view, app) {
  const { state } = view;
  let shown = null;
  const title = el("h3", {}, "\u00a0");
  const canvas = el("canvas", { class: "pixelated detail__map", width: 1, height: 1 });
  const cursor = el("span", { class: "outline", "aria-hidden": "true" });
  const surface = el(
    "div",
    {
      class: "detail__surface",
      tabindex: 0,
      role: "application",
      "aria-label": "The map, enlarged; the arrow keys choose a value",
      "aria-describedby": "detail-value",
      keydown: move,
      pointerdown: point,
      pointermove: (event) => event.buttons === 1 && point(event),
    },
    canvas,
    cursor,
  );
  const field = el("span", { class: "outline outline--field", "aria-hidden": "true" });
  const picture = over(field);
  const value = el("p", { class: "detail__value", id: "detail-value", "aria-live": "polite" }, "\u00a0");
  const statistics = el("dl", { class: "facts" });
  const kernel = kernelPanel(view, app);
  const root = el(
    "div",
    { class: "panel stack detail" },
    title,
    el("div", { class: "detail__pair" }, surface, el("div", { class: "picture__frame" }, picture.root)),
    value,
    el("p", { class: "small" }, ...legend("Drawn on its own scale, from its minimum", "to its maximum.")),
    statistics,
    kernel.root,
  );

  /** @param {any} chosen  a map, null before the first */
  function show(chosen) {
    shown = chosen;
    if (!shown) return;
    const map = shown;
    const layer = view.layer();
    title.textContent = map.features
      ? `${map.features} features of ${layer.name}`
      : `Map ${map.channel} of ${layer.name}`;
    draw(canvas, map.values, map.minimum, map.maximum);
    surface.style.aspectRatio = `${map.values[0].length} / ${map.values.length}`;
    const about = [
      ["Minimum", written(map.minimum)],
      ["Maximum", written(map.maximum)],
      ["Mean", written(map.mean)],
      ["Exactly 0", percent(map.zeros)],
    ];
    statistics.replaceChildren(
      ...about.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", { class: "mono" }, text))),
    );
    if (!map.features) kernel.show(map.channel);
    select(inside(state.at, map) ? state.at : greatest(map));
  }

  function select(at) {
    state.at = at;
    view.changed();
    const map = shown;
    const layer = view.layer();
    const [row, column] = at;
    if (map.features) kernel.show(Math.min(row * map.values[0].length + column, map.features - 1));
    place(cursor, [column, row, column + 1, row + 1], map.values[0].length, map.values.length);
    const where = map.features ? featureName(row * map.values[0].length + column) : `Row ${row}, column ${column}`;
    value.textContent = `${where}: ${written(map.values[row][column])}. ${outlined(layer, at, map)}`;
  }

  /** Outline on the picture what a value depends on, and say it. */
  function outlined(layer, at, map) {
    const [sees, inside] = fieldOf(layer, at, map);
    field.hidden = !sees;
    if (!sees) return "What it depends on is not known.";
    const { size: side, fit } = app.network.current.input;
    const found = receptive(sees, inside, side);
    const { width, height } = app.picture.current;
    const { x, y, across, down } = seen(width, height, side, fit);
    place(
      field,
      [x + found.left * across, y + found.top * down, x + found.right * across, y + found.bottom * down],
      width,
      height,
    );
    const whole = found.right - found.left === side && found.bottom - found.top === side;
    const rows = `rows ${found.top} to ${found.bottom - 1} and columns ${found.left} to ${found.right - 1}`;
    const area = whole ? "the whole picture" : `${rows} of the network’s ${side} × ${side} pixels`;
    const rest = found.cut && !whole ? "; the rest of its field is padding" : "";
    return `It depends on ${area}, outlined${rest}.`;
  }

  /** @param {number} index */
  function featureName(index) {
    const label = view.labels(shown.values.flat().slice(0, shown.features))[index]?.label;
    return label ? `Feature ${index}, ${label}` : `Feature ${index}`;
  }

  /** The layer's field and where in it an output is; a feature of a flatten layer is one value of the map before it. */
  function fieldOf(layer, [row, column], map) {
    if (!map.features) return [layer.receptive_field, [row, column]];
    if (layer.kind !== "flatten") return [layer.receptive_field, [0, 0]];
    const [, width, channels] = layer.input_shapes[0];
    const place = Math.floor((row * map.values[0].length + column) / channels);
    return [view.named(layer.inputs[0])?.receptive_field, [Math.floor(place / width), place % width]];
  }

  function point(event) {
    if (!shown) return;
    const box = surface.getBoundingClientRect();
    const { values } = shown;
    select([
      clamp(Math.floor(((event.clientY - box.top) / box.height) * values.length), values.length),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * values[0].length), values[0].length),
    ]);
  }

  function move(event) {
    const step = MOVES[event.key];
    if (!step || !shown) return;
    event.preventDefault();
    const { values } = shown;
    select([clamp(state.at[0] + step[0], values.length), clamp(state.at[1] + step[1], values[0].length)]);
  }

  app.picture.subscribe((now) => now && picture.show(now));
  return { root, show };
}

/** Where the network's square lies on a picture, and the size of one of its pixels there; as `seen` in app/imaging. */
function seen(width, height, side, fit) {
  const shorter = Math.min(width, height);
  const [wide, high] = [width, height].map((length) => length * (shorter / length) ** KEPT[fit]);
  return { x: (width - wide) / 2, y: (height - high) / 2, across: wide / side, down: high / side };
}

/** 1 - SQUASH of app/imaging. */
const KEPT = { balanced: 0.75, crop: 1, stretch: 0 };

const clamp = (index, length) => Math.max(0, Math.min(length - 1, index));
const inside = (at, { values }) => Array.isArray(at) && at.length === 2 && values[at[0]]?.[at[1]] !== undefined;

/** Where the greatest value is. @returns {[number, number]} */
function greatest({ values }) {
  /** @type {[number, number]} */
  let best = [0, 0];
  values.forEach((row, r) => row.forEach((value, c) => value > values[best[0]][best[1]] && (best = [r, c])));
  return best;
}

/** The pixels an output depends on, cut to the picture; `right` and `bottom` are the first beyond. */
function receptive({ size, step, start }, at, side) {
  const [from, to] = [0, 1].map((end) => at.map((index, axis) => start[axis] + index * step[axis] + end * size[axis]));
  const cut = [...from, ...to].some((pixel) => pixel < 0 || pixel > side);
  const [top, left, bottom, right] = [...from, ...to].map((pixel) => Math.max(0, Math.min(side, pixel)));
  return { top, left, bottom, right, cut };
}

/** Put an outline over [left, top, right, bottom] of what is `width` by `height`. */
function place(outline, [left, top, right, bottom], width, height) {
  const share = {
    left: left / width,
    top: top / height,
    width: (right - left) / width,
    height: (bottom - top) / height,
  };
  for (const [name, value] of Object.entries(share)) outline.style.setProperty(name, `${100 * value}%`);
}
