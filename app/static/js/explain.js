import { draw } from "./colours.js";
import { el, choices, errorBox, legend, newest, over } from "./dom.js";
import { percent } from "./numbers.js";

const METHODS = [
  { value: "lime", content: ["LIME"] },
  { value: "occlusion", content: ["Occlusion"] },
  { value: "cam", content: ["Class activation"] },
];

/**
 * The heat map of what speaks for a label, over the picture.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("explain") ?? {};
  const state = {
    method: METHODS.some(({ value }) => value === saved.method) ? saved.method : METHODS[0].value,
    opacity: Number.isFinite(saved.opacity) ? saved.opacity : 60,
  };
  const error = errorBox(() => ask());
  const methods = choices({
    legend: "Method",
    name: "method",
    class: "segments",
    choose: (method) => change({ method }),
  });
  methods.fill(METHODS, state.method);
  const heat = el("canvas", {
    class: "heat explain__heat",
    width: 1,
    height: 1,
    role: "img",
    "aria-label": "Heat map",
  });
  const picture = over(heat);
  const opacity = el("input", {
    type: "range",
    min: 0,
    max: 100,
    value: state.opacity,
    id: "explain-opacity",
    input: () => change({ opacity: Number(opacity.value) }),
  });
  const words = el("p", { class: "explain__words", "aria-live": "polite" });
  const how = el("p", { class: "explain__how" });
  const code = el("div");
  const request = () => ({
    method: "POST",
    path: "/explain",
    query: {
      model: app.model.current,
      method: state.method,
      ...(app.label.current ? { label: app.label.current } : {}),
    },
    parts: { image: app.picture.current?.blob },
  });
  app.code(code, request);
  root.append(
    methods.root,
    error.root,
    el(
      "figure",
      { class: "stage" },
      el("div", { class: "picture__frame" }, picture.root),
      el("figcaption", { class: "small" }, ...legend("speaks for it least", "most")),
    ),
    el(
      "div",
      { class: "stack" },
      words,
      el(
        "div",
        { class: "field field--inline" },
        el("label", { for: "explain-opacity" }, "Opacity of the map"),
        opacity,
      ),
      el("details", { class: "small" }, el("summary", {}, "How this map is computed"), how),
      code,
    ),
  );

  const ask = newest(
    (signal) =>
      app.answered.current && app.picture.current && app.model.current ? app.api.json({ ...request(), signal }) : null,
    (answer) => {
      error.clear();
      draw(heat, answer.heatmap, 0, brightest(answer));
      heat.setAttribute("aria-label", `Heat map of what speaks for ${answer.label}`);
      words.replaceChildren(...said(answer));
      how.textContent = `${answer.how[0].toUpperCase()}${answer.how.slice(1)}.`;
    },
    (problem) => error.show(problem),
    { root },
  );

  function change(part) {
    Object.assign(state, part);
    app.link.set("explain", { ...state, label: app.label.current });
    heat.style.opacity = String(state.opacity / 100);
    if (part.method) ask();
  }

  app.label.set(typeof saved.label === "string" ? saved.label : null);
  change({});
  app.picture.subscribe((shown) => {
    if (!shown) return;
    picture.show(shown);
    ask();
  });
  app.answered.subscribe(ask);
  app.model.subscribe(ask);
  app.label.subscribe(() => {
    change({});
    ask();
  });
}

/** A drop in probability that is worth the brightest colour; smaller ones stay as much darker. */
const TELLING = 0.2;
/** Hiding the hottest part has to lower the probability by as much, or no part matters much. */
const SLIGHT = 0.05;

/**
 * What is drawn brightest: a map glows only where hiding its hottest part changes the answer.
 * @param {{drop: number | null}} answer
 */
export const brightest = ({ drop }) => 1 / Math.min(1, Math.max(0.01, (drop ?? 0) / TELLING));

/** What the map says, in a sentence. */
function said({ label, probability, drop, hottest }) {
  const sentence = [el("strong", {}, label), ` ${percent(probability)}.`];
  if (drop === null) return [...sentence, " Nothing in the picture speaks for it."];
  const [left, top, right, bottom] = hottest;
  const across = ["left", "centre", "right"][Math.floor(((left + right) / 2) * 3)];
  const down = ["top", "middle", "bottom"][Math.floor(((top + bottom) / 2) * 3)];
  const leaves = percent(Math.min(1, Math.max(0, probability - drop)));
  if (drop < SLIGHT)
    return [
      ...sentence,
      ` No single part matters much: hiding the hottest, ${down} ${across}, still leaves ${leaves}.`,
    ];
  return [...sentence, ` Hiding its most telling part, ${down} ${across}, leaves ${leaves}.`];
}
