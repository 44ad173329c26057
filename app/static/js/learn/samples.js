import { PREFIX } from "../api.js";
import { choices, el } from "../dom.js";

export const LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/** @param {string} label */
export const sampleAt = (label) => `/static/pictures/${label}.png`;

/**
 * The ten sample pictures to choose from; the choice is the same in every figure.
 * @param {any} app
 * @param {string} name of the group of buttons, another one in each figure
 */
export function samples(app, name) {
  const group = choices({
    legend: "Picture, from CIFAR-10’s test set",
    shown: true,
    name,
    class: "samples",
    choose: (label) => app.sample.set(label),
  });
  group.fill(
    LABELS.map((label) => ({
      value: label,
      label,
      content: [el("img", { src: PREFIX + sampleAt(label), alt: "", width: 32, height: 32, class: "pixelated" })],
    })),
    app.sample.current,
  );
  app.sample.subscribe((/** @type {string} */ label) => group.check(label));
  return group.root;
}

/**
 * The chosen sample as a file.
 * @param {any} app
 * @param {AbortSignal} [signal]
 * @returns {Promise<Blob>}
 */
export async function sampleFile(app, signal) {
  return (await app.api.blob({ method: "GET", path: sampleAt(app.sample.current), signal })).blob;
}
