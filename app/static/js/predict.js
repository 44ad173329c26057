import { el, choices, errorBox, newest } from "./dom.js";
import { count, percent } from "./numbers.js";

/** Labels that are drawn; a network may know a thousand. */
const BARS = 10;
const STEPS = { decode: "decoding", queue: "waiting", infer: "the network", encode: "writing the answer" };

const PRECISIONS = { float32: "32-bit numbers", bfloat16: "16-bit numbers", int8: "8-bit whole numbers" };

/**
 * The labels with their probabilities, which network is asked, and where the time went.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const error = errorBox(() => {
    if (app.model.current) ask();
    else askModels();
  });
  const models = choices({
    legend: "Network",
    name: "model",
    class: "segments",
    choose: (name) => {
      app.label.set(null); // the other network may not know it
      app.model.set(name);
    },
  });
  const about = el("p", { class: "small about" });
  const verdict = el("p", { class: "verdict", "aria-live": "polite" }, "Looking …");
  const notice = el("p", { class: "notice" });
  const knows = el("p", { class: "knows" });
  const labels = choices({
    legend: "Labels by probability; choose one to see why",
    name: "label",
    class: "bars",
    choose: (label) => app.label.set(label === likeliest ? null : label),
  });
  const saved = app.link.get("predict") ?? {};
  const closer = el("input", { type: "checkbox", id: "look-closer", checked: saved.closer === true, change: look });
  const looked = el("p", { class: "small closer__words", "aria-live": "polite" }, "\u00a0");
  const times = el("p", { class: "small times" });
  const code = el("div");
  const request = () => ({
    method: "POST",
    path: "/predict",
    query: {
      model: app.model.current,
      top_k: Math.min(BARS, labelCount()),
      ...(closer.checked ? { views: MOST_VIEWS } : {}),
    },
    parts: { image: app.picture.current?.blob },
  });
  app.code(code, request);
  root.append(
    models.root,
    error.root,
    verdict,
    knows,
    labels.root,
    notice,
    el("div", { class: "field field--inline" }, closer, el("label", { for: "look-closer" }, "Look closer")),
    looked,
    about,
    el("details", { class: "small" }, el("summary", {}, "How long it took"), times),
    code,
  );
  let likeliest = null;
  let picture = null;
  const named = (name) => app.models.current.find((model) => model.name === name);
  const labelCount = () => named(app.model.current)?.label_count ?? BARS;

  const askModels = newest(
    (signal) => app.api.json({ method: "GET", path: "/models", signal }),
    (found) => {
      error.clear();
      app.models.set(found.models);
      const known = found.models;
      const first =
        known.find((model) => model.name === saved.model) ?? known.find((model) => model.default) ?? known[0];
      models.fill(
        known.map(({ name }) => ({ value: name, content: [name] })),
        first.name,
      );
      app.model.set(first.name);
    },
    fail,
  );

  const ask = newest(
    (signal) => (app.picture.current && app.model.current ? app.api.answer({ ...request(), signal }) : null),
    ({ value, headers, milliseconds }) => {
      error.clear();
      show(value.predictions[0]);
      times.textContent = timeWords(headers.get("server-timing") ?? "", milliseconds);
      app.settle();
    },
    fail,
    { root },
  );

  function fail(problem) {
    error.show(problem);
    app.settle();
  }

  function look() {
    app.link.set("predict", { model: app.model.current, ...(closer.checked ? { closer: true } : {}) });
    ask();
  }

  function show(prediction) {
    const { label, probability, is_ood: isOod, ood_score: score } = prediction;
    likeliest = label;
    verdict.replaceChildren(el("strong", {}, label), ` ${percent(probability)}`);
    looked.textContent = viewWords(prediction.views);
    notice.textContent = typicalWords(isOod, score);
    const all = labelCount();
    const shown = prediction.top.length;
    const only =
      shown < all ? `It knows only ${all} labels, here the ${shown} likeliest,` : `It knows only these ${all} labels`;
    knows.textContent = `${only} and always answers with one of them, whatever the picture shows.`;
    notice.classList.toggle("notice--warn", isOod === true);
    labels.fill(
      prediction.top.map((one) => ({
        value: one.label,
        content: [
          el("span", { class: "bar__label" }, one.label),
          el("meter", { class: "bar", min: 0, max: 1, value: one.probability, "aria-hidden": "true" }),
          el("span", { class: "bar__value mono" }, percent(one.probability)),
        ],
      })),
      app.label.current ?? label,
    );
  }

  app.model.subscribe((name) => {
    if (!name) return;
    const { accuracy, multiply_adds: work, parameters, precision } = named(name);
    const size = `${count(parameters)} parameters, ${count(work)} multiply-adds per picture`;
    const cost = `${size}, in ${PRECISIONS[precision]}`;
    const right =
      accuracy === null
        ? "How often it is right was not measured"
        : `Right for ${percent(accuracy)} of the test pictures`;
    about.textContent = `${right}; ${cost}.`;
    look();
  });
  app.picture.subscribe((now) => {
    if (picture && now !== picture) app.label.set(null); // the label that a link names is of its picture, the first
    picture = now;
    ask();
  });
  askModels();
}

/** How typical the picture is, as far as the network can tell. @param {boolean | null} isOod @param {number} score */
function typicalWords(isOod, score) {
  if (isOod === null) return "This network cannot tell whether a picture is like those it was trained on.";
  const more = `${percent(score)} of its test pictures were more typical.`;
  return isOod
    ? `Be careful: this is unlike its training pictures. ${more}`
    : `Typical of its training pictures: ${more}`;
}

/** The service's limit of views for one picture. */
const MOST_VIEWS = 14;

/** What looking closer did; nothing where it was not asked for. @param {number | undefined} views */
function viewWords(views) {
  if (!views) return "\u00a0";
  const small = "It has too few pixels for closer views.";
  const all = "The picture, closer parts of it, and the mirror image of each.";
  return views > 2
    ? `Averaged over ${views} views. ${all}`
    : `Averaged over the picture and its mirror image. ${small}`;
}

/** Where the time went, from a Server-Timing header and the round trip in milliseconds. */
function timeWords(header, milliseconds) {
  const spent = new Map([...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, step, time]) => [step, Number(time)]));
  const time = (step) => (spent.get(step) ?? 0).toFixed(1);
  const parts = Object.entries(STEPS).filter(([step]) => spent.has(step));
  const inside = parts.map(([step, words]) => `${words} ${time(step)}`).join(", ");
  const service = spent.has("total") ? `${time("total")} ms in the service (${inside}), ` : "";
  return `${service}${milliseconds.toFixed(1)} ms including the network.`;
}
