import { draw } from "./colours.js";
import { el, choices, errorBox, legend, newest, over } from "./dom.js";
import { brightest } from "./explain.js";
import { count, percent } from "./numbers.js";

/** Labels that are compared, the likeliest of both. */
const MOST_LABELS = 10;

/**
 * The network that is asked beside another: what each says of the picture, and what speaks for it.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  let other = app.link.get("compare")?.with;
  let near = false;
  const error = errorBox(() => ask());
  const others = choices({
    legend: "Compare with",
    shown: true,
    name: "compare",
    class: "segments",
    choose: (name) => {
      other = name;
      app.link.set("compare", { with: name });
      ask();
    },
  });
  const words = el("p", { "aria-live": "polite" }, "Looking …");
  const table = el("table", { class: "duel" });
  const sides = [side(app), side(app)];
  const duel = el("div", { class: "compare", hidden: true }, sides[0].root, table, sides[1].root);
  const scale = el(
    "p",
    { class: "small", hidden: true },
    ...legend("A map is as bright as hiding its hottest part matters: speaks for the label least", "most."),
  );
  root.append(others.root, error.root, words, duel, scale);

  const ask = newest(
    (signal) => {
      const names = [app.model.current, other];
      return near && app.picture.current && names.every(Boolean)
        ? Promise.all(names.map((name) => opinion(name, app, signal)))
        : null;
    },
    (opinions) => {
      error.clear();
      duel.hidden = scale.hidden = false;
      sides.forEach((one, i) => one.show(opinions[i]));
      table.replaceChildren(...rows(opinions));
      words.textContent = verdict(opinions);
    },
    (problem) => error.show(problem),
    { root },
  );

  app.model.subscribe((name) => {
    const names = app.models.current.map((model) => model.name).filter((one) => one !== name);
    /** @type {HTMLElement} */ (root.parentElement).hidden = !names.length;
    if (!names.includes(other)) other = names.at(-1);
    others.fill(
      names.map((one) => ({ value: one, content: [one] })),
      other,
    );
    ask();
  });
  app.picture.subscribe(ask);
  // Twice the work of the first view: nobody waits for it who does not look.
  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    near = true;
    ask();
  }).observe(root);
}

/** One network: its answer, its map, and what it costs. */
function side(app) {
  const title = el("h3");
  const heat = el("canvas", { class: "heat", width: 1, height: 1, role: "img", "aria-label": "Heat map" });
  const picture = over(heat);
  const facts = el("p", { class: "small" });
  app.picture.subscribe((shown) => shown && picture.show(shown));
  return {
    root: el("div", { class: "stack" }, title, el("div", { class: "picture__frame" }, picture.root), facts),
    show({ model, prediction, heatmap, most }) {
      title.textContent = `${model.name}: ${prediction.label} ${percent(prediction.probability)}`;
      heat.hidden = !heatmap;
      if (heatmap) draw(heat, heatmap, 0, most);
      heat.setAttribute("aria-label", `Heat map of what speaks for ${prediction.label} in ${model.name}`);
      const right =
        model.accuracy === null ? "Not measured" : `Right for ${percent(model.accuracy)} of its test pictures`;
      facts.textContent = `${right}; ${count(model.multiply_adds)} multiply-adds per picture.`;
    },
  };
}

/** What a network says of the picture; `heatmap` is null where it has no layers to draw one from. */
async function opinion(name, app, signal) {
  const model = app.models.current.find((one) => one.name === name);
  const query = { model: name };
  const ask = (path, more) =>
    app.api.json({
      method: "POST",
      path,
      query: { ...query, ...more },
      parts: { image: app.picture.current.blob },
      signal,
    });
  const [answer, explained] = await Promise.all([
    ask("/predict", { top_k: Math.min(MOST_LABELS, model.label_count) }),
    ask("/explain", {}).catch((problem) => {
      if (problem.status === 422) return { heatmap: null, drop: null };
      throw problem;
    }),
  ]);
  return { model, prediction: answer.predictions[0], heatmap: explained.heatmap, most: brightest(explained) };
}

/** A row for each label, the first network's bar to the left of it and the second's to the right. */
function rows(opinions) {
  const tops = opinions.map(({ prediction }) => new Map(prediction.top.map((one) => [one.label, one.probability])));
  const most = (label) => Math.max(...tops.map((top) => top.get(label) ?? 0));
  const labels = [...new Set(tops.flatMap((top) => [...top.keys()]))].sort((a, b) => most(b) - most(a));
  const cell = (i, label) => {
    const share = tops[i].get(label);
    const bar = el("meter", { class: "bar", min: 0, max: 1, value: share ?? 0, "aria-hidden": "true" });
    const value = el("span", { class: "mono" }, share === undefined ? "–" : percent(share));
    return el("td", {}, el("div", { class: `duel__side duel__side--${i}` }, bar, value));
  };
  const [first, second] = opinions.map(({ model }) => el("th", { scope: "col" }, model.name));
  return [
    el("caption", { class: "visually-hidden" }, "Probabilities that the two networks give"),
    el("thead", {}, el("tr", {}, first, el("th", { scope: "col" }, "label"), second)),
    el(
      "tbody",
      {},
      ...labels
        .slice(0, MOST_LABELS)
        .map((label) => el("tr", {}, cell(0, label), el("th", { scope: "row" }, label), cell(1, label))),
    ),
  ];
}

/** Whether they agree, in a sentence. */
function verdict(opinions) {
  const [first, second] = opinions.map(({ prediction }) => prediction.label);
  if (first === second) return `Both say ${first}.`;
  const each = opinions.map(({ model, prediction }) => `${model.name} says ${prediction.label}`);
  return `They disagree: ${each.join(", ")}.`;
}
