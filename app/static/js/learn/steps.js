import { button, calm } from "../convolve/controls.js";
import { el } from "../dom.js";

/** Milliseconds that each step stays, by speed. @type {Record<string, number>} */
const PAUSES = { slow: 1800, normal: 900, fast: 300 };

/**
 * Buttons that go through numbered steps: back, play, next.
 * @param {object} steps
 * @param {() => number} steps.count
 * @param {() => number} steps.at
 * @param {(step: number) => void} steps.go  shows a step from 0 to count() - 1
 * @param {string} steps.noun
 * @param {() => string} [steps.say]  where it is, in words
 * @param {boolean} [steps.speeds]  whether the visitor chooses how fast it plays
 */
export function stepper({ count, at, go, noun, say = () => `${noun} ${at() + 1} of ${count()}`, speeds = false }) {
  let timer = 0;
  const speed = el(
    "select",
    { "aria-label": `How fast the ${noun}s play`, change: () => timer && start() },
    ...Object.keys(PAUSES).map((name) => el("option", { value: name, selected: name === "normal" }, name)),
  );
  const play = button("Play", () => (timer ? stop() : start()));
  const said = el("span", { class: "small", "aria-live": "polite" });
  const root = el(
    "div",
    { class: "row" },
    button("Back", () => move(-1), { "aria-label": `Back one ${noun}` }),
    play,
    button("Next", () => move(1), { "aria-label": `Next ${noun}` }),
    ...(speeds ? [speed] : []),
    said,
  );

  /** @param {number} by */
  function move(by) {
    stop();
    go((at() + by + count()) % count());
    refresh();
  }

  function start() {
    if (at() === count() - 1) go(0);
    clearInterval(timer);
    play.textContent = "Pause";
    timer = setInterval(forward, PAUSES[speed.value] * (calm() ? 2 : 1));
    refresh();
  }

  function forward() {
    if (at() >= count() - 1) return stop();
    go(at() + 1);
    refresh();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  function refresh() {
    said.textContent = say();
  }

  refresh();
  return { root, refresh, stop };
}
