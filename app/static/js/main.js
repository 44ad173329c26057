import * as api from "./api.js";
import { codes } from "./code.js";
import { mount as mountCard } from "./card.js";
import { mount as mountCompare } from "./compare.js";
import { mount as mountConvolve } from "./convolve.js";
import { mount as mountExplain } from "./explain.js";
import { mount as mountLayers } from "./layers.js";
import { link } from "./link.js";
import { mount as mountPicture } from "./picture.js";
import { mount as mountPredict } from "./predict.js";
import { store } from "./store.js";

/** @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** What all views share. */
const app = {
  api,
  link: link(location),
  /** The picture that is looked at: {blob, name, url, width, height, sample?, saved}, null before the first. */
  picture: store(null),
  /** Every network that is served, as /models lists them. */
  models: store([]),
  /** The name of the network that is asked, null until the service has said what it has. */
  model: store(null),
  /** What /models/{name} says of that network, null until it has said it. */
  network: store(null),
  /** The label that is explained, null for the most probable one. */
  label: store(null),
  /** The learned kernel that was picked up: {model, layer, filter, channel, values}. */
  kernel: store(null),
  /** Tell those who do not see the page. */
  announce: (words) => (at("announcer").textContent = words),
};
app.code = codes(app, at("code-view"));

mountPredict(at("predict-view"), app);
mountExplain(at("explain-view"), app);
mountCard(at("card-view"), app);
mountCompare(at("compare-view"), app);
mountLayers(at("layers-view"), app);
mountConvolve(at("convolve-view"), app);
mountPicture(at("picture-view"), app);
