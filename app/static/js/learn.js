import * as api from "./api.js";
import { el, errorBox } from "./dom.js";
import { LABELS } from "./learn/samples.js";
import { link } from "./link.js";
import { store } from "./store.js";

/** Which module draws a figure: the name in its `data-figure`. @type {Record<string, () => Promise<any>>} */
const FIGURES = {
  signal: () => import("./learn/signal.js"),
  slide: () => import("./learn/slide.js"),
  stack: () => import("./learn/stack.js"),
  strides: () => import("./learn/strides.js"),
  pooling: () => import("./learn/pooling.js"),
  draw: () => import("./learn/draw.js"),
  descent: () => import("./learn/descent.js"),
  neuron: () => import("./learn/neuron.js"),
  field: () => import("./learn/field.js"),
  softmax: () => import("./learn/softmax.js"),
  film: () => import("./learn/film.js"),
  units: () => import("./learn/units.js"),
  breaks: () => import("./learn/breaks.js"),
  own: () => import("./learn/own.js"),
};

/** How far below the window a figure is loaded already. */
const AHEAD = "600px";

/** @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** What all figures share. */
const app = {
  api,
  link: link(location),
  /** The label of the sample that is looked at in every chapter with a picture. */
  sample: store("cat"),
  /** Tell those who do not see the page. @param {string} words */
  announce: (words) => (at("announcer").textContent = words),
};
const saved = app.link.get("sample");
if (LABELS.includes(saved)) app.sample.set(saved);
app.sample.subscribe((label) => app.link.set("sample", label));

/** Load a figure's module and let it draw; where that fails it says so in its place. @param {HTMLElement} root */
async function mount(root) {
  const error = errorBox(() => mount(root));
  root.replaceChildren(error.root);
  try {
    const module = await FIGURES[root.dataset.figure ?? ""]();
    root.replaceChildren();
    module.mount(root, app);
  } catch {
    error.show(new api.ApiError(api.DEAD));
  }
}

const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      mount(/** @type {HTMLElement} */ (target));
    }
  },
  { rootMargin: AHEAD },
);
document.querySelectorAll("[data-figure]").forEach((figure) => near.observe(figure));

const entries = new Map(
  [...document.querySelectorAll(".contents a")].map((entry) => [entry.getAttribute("href")?.slice(1), entry]),
);
const reading = new IntersectionObserver(
  (chapters) => {
    for (const { isIntersecting, target } of chapters) {
      if (!isIntersecting) continue;
      for (const entry of entries.values()) entry.removeAttribute("aria-current");
      entries.get(target.id)?.setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-20% 0px -75% 0px" },
);
document.querySelectorAll(".chapter").forEach((chapter) => reading.observe(chapter));

const copied = el("span", { role: "status" });
at("keep").append(
  el("button", { type: "button", class: "button button--quiet button--small", click: copy }, "Copy a link"),
  " to the course as you have set it. ",
  copied,
);

async function copy() {
  try {
    await navigator.clipboard.writeText(app.link.address());
    copied.textContent = "Copied.";
  } catch {
    copied.textContent = "This browser lets pages copy over HTTPS and from localhost only.";
  }
}
