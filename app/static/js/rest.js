import { mount as mountCard } from "./card.js";
import { mount as mountCompare } from "./compare.js";
import { mount as mountConvolve } from "./convolve.js";
import { mount as mountLayers } from "./layers.js";

/**
 * The views that the first answer does not need.
 * @param {(id: string) => HTMLElement} at
 * @param {any} app
 */
export function mount(at, app) {
  mountCard(at("card-view"), app);
  mountCompare(at("compare-view"), app);
  mountLayers(at("layers-view"), app);
  mountConvolve(at("convolve-view"), app);
}
