import { choices, el } from "../dom.js";

/** A button of the quiet kind. */
export function button(label, click, attributes = {}) {
  return el("button", { type: "button", class: "button button--quiet", click, ...attributes }, label);
}

/** A region that scrolls by itself, so that a wide grid never widens the page; reachable with the keyboard. */
export function scroller(label, ...children) {
  return el("div", { class: "cv-scroll", role: "region", "aria-label": label, tabindex: 0 }, ...children);
}

/** A choice that is called by its legend. `options` is [value, label] pairs; `get` and `set` are of what is chosen. */
export function toggle(legend, options, get, set) {
  const name = `cv-${legend.toLowerCase().replaceAll(/\W+/g, "-")}`;
  const valueOf = (text) => options.find(([value]) => String(value) === text)[0];
  const group = choices({ legend, shown: true, name, class: "segments", choose: (text) => set(valueOf(text)) });
  group.fill(
    options.map(([value, label]) => ({ value, content: [label] })),
    get(),
  );
  return { root: group.root, refresh: () => group.check(get()) };
}

/** Whether the visitor asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
