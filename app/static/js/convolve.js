import { el, newest } from "./dom.js";
import { button, toggle } from "./convolve/controls.js";
import { flipPanel } from "./convolve/flip.js";
import { inputPanel } from "./convolve/input.js";
import { maskPanel } from "./convolve/mask.js";
import { convolvePanel, poolPanel } from "./convolve/options.js";
import { Problems } from "./convolve/problems.js";
import { resultPanel } from "./convolve/result.js";
import { slidePanel } from "./convolve/slide.js";
import { request, restored, toExample } from "./convolve/state.js";
import { pixels } from "./convolve/surface.js";

/** Typing is one change, not one a letter. */
const PAUSE = 200;
/** The most numbers that are asked for as JSON; a larger answer comes as a picture only. */
const MOST_NUMBERS = 50_000;

/**
 * The convolve view: numbers or a picture under a mask, step by step.
 * @param {HTMLElement} root
 * @param {object} app  what all views share: api, code, link, picture, kernel, announce
 */
export function mount(root, app) {
  const state = restored(app.link.get("convolve"));
  const problems = new Problems(state, () => changed());
  let answered = false; // the first answer is read to nobody: the visitor did not ask for it
  const view = {
    state,
    errorBox: (pointer, tool) => problems.box(pointer, tool),
    onError: (pointer, mark, tool) => problems.onError(pointer, mark, tool),
    fail: (problem) => {
      problems.show(problem);
      panels.slide.outdated();
    },
    saved: () => app.link.set("convolve", state),
    refresh: () => Object.values(panels).forEach((panel) => panel.refresh()),
    refreshOptions: () => panels.options.refresh(),
    changed,
  };
  const tool = toggle(
    "Do",
    [
      ["convolve", "Convolve"],
      ["pool", "Pool"],
    ],
    () => state.tool,
    (value) => {
      state.tool = value;
      view.refresh();
      changed();
    },
  );
  const example = button("Worked example: 52", () => {
    toExample(state);
    view.refresh();
    changed();
  });
  const panels = {
    tool: { refresh: refreshTool },
    input: inputPanel(view, app),
    options: convolvePanel(view),
    pool: poolPanel(view),
    flip: flipPanel(view),
    slide: slidePanel(view, app),
    result: resultPanel(view, app, () => request(state, panels.input.picture(), codeForm())),
  };
  panels.mask = maskPanel(view, app);
  root.classList.add("cv");
  root.append(
    el("div", { class: "row cv-top" }, tool.root, example),
    el(
      "div",
      { class: "cv-setup" },
      panels.input.root,
      panels.mask.root,
      panels.flip.root,
      panels.options.root,
      panels.pool.root,
    ),
    problems.general,
    el("div", { class: "cv-work" }, panels.slide.root, panels.result.root),
  );

  function refreshTool() {
    tool.refresh();
    const pools = state.tool === "pool";
    for (const name of ["mask", "options", "flip"]) panels[name].root.hidden = pools;
    panels.pool.root.hidden = !pools;
  }

  /** Something was set: keep it in the link and, when nothing more follows for a moment, ask for the result. */
  function changed() {
    view.saved();
    panels.flip?.refresh();
    ask();
  }

  const codeForm = () => (state.source === "array" ? { trace: true } : { accept: "image/png" });

  const ask = newest(
    (signal) => {
      const picture = panels.input.picture();
      root.setAttribute("aria-busy", String(state.source === "array" || picture !== null));
      if (state.source === "array" || picture) return results(structuredClone(state), picture, signal);
      panels.slide.clear("Choose a picture first.");
      panels.result.clear();
      return null;
    },
    (found) => {
      showResults(found, answered);
      answered = true;
      root.setAttribute("aria-busy", "false");
    },
    (problem) => {
      view.fail(problem);
      root.setAttribute("aria-busy", "false");
    },
    { pause: PAUSE },
  );

  /** @param {import("./convolve/state.js").State} asked  a copy: the visitor may change the state meanwhile */
  async function results(asked, picture, signal) {
    const small = asked.source === "array" || picture.width * picture.height * 3 <= MOST_NUMBERS;
    const image = asked.source === "picture" && small ? await pixels(picture.blob) : null;
    const answer = small ? await app.api.json({ ...request(asked, picture), signal }) : null;
    const png = await app.api.blob({ ...request(asked, picture, { accept: "image/png" }), signal });
    const trace = async (at) => {
      const traced = await app.api.json(request({ ...asked, at }, picture, { trace: true }));
      return [traced.trace].flat();
    };
    return { answer: answer && { ...answer, asked, image, trace }, png, picture };
  }

  async function showResults({ answer, png, picture }, speak) {
    problems.clear();
    const url = panels.result.show(answer, png, picture);
    if (answer) {
      const sum = await panels.slide.show({ ...answer, url });
      if (speak) panels.slide.say(sum);
    } else panels.slide.clear("The picture is too large to write its sums out. Make it smaller above.");
  }

  app.picture.subscribe(() => {
    panels.input.refresh();
    if (state.source === "picture") changed();
  });
  refreshTool();
  ask();
}
