import * as api from "./api.js";
import { codes } from "./code.js";
import { el, errorBox } from "./dom.js";
import { mount as mountExplain } from "./explain.js";
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
  /** Whether the first answer is there, or could not be had: before it, nothing is loaded that it does not need. */
  answered: store(false),
  settle: () => app.answered.current || app.answered.set(true),
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
mountPicture(at("picture-view"), app);

/** Load a stylesheet. @param {string} path */
const style = (path) =>
  new Promise((load, error) =>
    document.head.append(el("link", { rel: "stylesheet", href: api.PREFIX + path, load, error })),
  );

/** The views further down. A place on the page that the address names is gone to once it is as long as it will be. */
async function mountRest() {
  const error = errorBox(mountRest);
  at("card-view").replaceChildren(error.root);
  try {
    const [{ mount }] = await Promise.all([import("./rest.js"), style("/static/convolve.css")]);
    error.root.remove();
    mount(at, app);
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch {
    error.show(new api.ApiError(api.DEAD));
  }
}

app.answered.subscribe((answered) => answered && mountRest());
