import { button, calm } from "../convolve/controls.js";
import { el } from "../dom.js";

/** Milliseconds that each step stays. */
const PAUSE = 900;

/**
 * Buttons that go through numbered steps: back, play, next.
 * @param {{count: () => number, at: () => number, go: (step: number) => void, noun: string}} steps
 *   `go` shows a step from 0 to count() - 1
 */
export function stepper({ count, at, go, noun }) {
  let timer = 0;
  const play = button("Play", () => (timer ? stop() : start()));
  const said = el("span", { class: "small", "aria-live": "polite" });
  const root = el(
    "div",
    { class: "row" },
    button("Back", () => move(-1), { "aria-label": `Back one ${noun}` }),
    play,
    button("Next", () => move(1), { "aria-label": `Next ${noun}` }),
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
    play.textContent = "Pause";
    timer = setInterval(forward, calm() ? 2 * PAUSE : PAUSE);
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
    said.textContent = `${noun} ${at() + 1} of ${count()}`;
  }

  refresh();
  return { root, refresh, stop };
}
