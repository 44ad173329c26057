import { el } from "../dom.js";
import { displayOf } from "./state.js";
import { appliedWords, counted, displayWords } from "./words.js";

const DISPLAYS = {
  auto: "whatever suits the mask",
  clamp: "clamp to 0…255",
  absolute: "absolute values",
  rescale: "rescale to 0…255",
};

/** The result as a picture, what was done, and the request for it as code. */
export function resultPanel(view, app, getRequest) {
  const { state } = view;
  let url = "";
  const image = el("img", { class: "cv-picture cv-result__picture", alt: "The output as a picture", hidden: true });
  const mapping = el("p", { class: "cv-words" });
  const applied = el("p", { class: "cv-words cv-applied" });
  const display = el(
    "select",
    {
      id: "cv-display",
      change: () => {
        state.display = display.value;
        view.changed();
      },
    },
    ...Object.entries(DISPLAYS).map(([value, label]) => el("option", { value }, label)),
  );
  const code = el("div");
  app.code(code, getRequest);
  const root = el(
    "section",
    { class: "panel stack", "aria-label": "The result" },
    el("h3", {}, "The result"),
    el("div", { class: "cv-result__frame" }, image),
    applied,
    el(
      "div",
      { class: "field" },
      el("label", { for: "cv-display" }, "Numbers become pixels by"),
      display,
      view.errorBox("/display"),
    ),
    mapping,
    code,
  );

  /** @returns {string} the address of the PNG that is shown now */
  function show(answer, { blob, headers }, input) {
    const old = url;
    url = URL.createObjectURL(blob);
    image.src = url;
    image.hidden = false;
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);
    const clipped = Number(headers.get("x-clipped-pixels"));
    const lost = clipped
      ? ` ${counted(clipped, "pixel")} did not fit and ${clipped === 1 ? "was" : "were"} cut.`
      : " Every pixel fits.";
    mapping.textContent = displayWords(displayOf(state)) + lost;
    applied.textContent = answer ? appliedWords(answer) : `Of a picture of ${input.width} × ${input.height} pixels.`;
    return url;
  }

  function clear() {
    image.hidden = true;
    mapping.textContent = "";
    applied.textContent = "";
  }

  const refresh = () => (display.value = state.display);
  refresh();
  return { root, show, clear, refresh };
}
