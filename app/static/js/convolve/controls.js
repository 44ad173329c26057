import { el } from "../dom.js";

/** A button of the quiet kind. */
export function button(label, click, attributes = {}) {
  return el("button", { type: "button", class: "button button--quiet", click, ...attributes }, label);
}

/** A region that scrolls by itself, so that a wide grid never widens the page; reachable with the keyboard. */
export function scroller(label, ...children) {
  return el("div", { class: "cv-scroll", role: "region", "aria-label": label, tabindex: 0 }, ...children);
}

/** A group of radio buttons that looks like one switch. `choices` is [value, label] pairs. */
export function toggle(legend, choices, get, set) {
  const name = `cv-${legend.toLowerCase().replaceAll(/\W+/g, "-")}`;
  const radios = choices.map(([value, label]) => {
    const radio = el("input", { type: "radio", name, value, change: () => set(value) });
    return { value, radio, label: el("label", { class: "cv-toggle__choice" }, radio, el("span", {}, label)) };
  });
  const root = el(
    "fieldset",
    { class: "cv-toggle" },
    el("legend", {}, legend),
    el("div", { class: "cv-toggle__choices" }, ...radios.map((r) => r.label)),
  );
  const refresh = () => radios.forEach((r) => (r.radio.checked = r.value === get()));
  refresh();
  return { root, refresh };
}

/** Whether the visitor asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
