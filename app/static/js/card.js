import { el } from "./dom.js";
import { count, percent } from "./numbers.js";

/** Pictures that are probably mislabelled, of which so many are listed. */
const MOST_LISTED = 20;
/** Labels that are written out. */
const MOST_LABELS = 60;

/**
 * What is known of the network that is asked: its labels, how it was made and how good it is, and what is not known.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  app.network.subscribe((network) => network && root.replaceChildren(...card(network)));
}

function card(network) {
  const rows = facts(network);
  return [
    el("p", {}, named(network.labels)),
    el(
      "dl",
      { class: "facts facts--grid" },
      ...rows.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))),
    ),
    ...plots(network),
    ...suspects(network.mislabelled),
  ];
}

function named(labels) {
  const rest = labels.length > MOST_LABELS ? `, and ${labels.length - MOST_LABELS} more` : "";
  return `It knows ${labels.length} labels: ${labels.slice(0, MOST_LABELS).join(", ")}${rest}.`;
}

/** Names and texts; what the artifact does not say is said to be unknown. @returns {[string, string][]} */
function facts({ name, version, input, measured, calibration, out_of_distribution: typicality, training, data }) {
  const [low, high] = measured.test_interval ?? [];
  const interval = low === undefined ? "" : `, with 95 % certainty ${percent(low)} to ${percent(high)}`;
  const worst = Object.entries(measured.per_class).sort(([, a], [, b]) => a - b)[0];
  const minutes = training?.seconds ? `${Math.max(1, Math.round(training.seconds / 60))} minutes` : "";
  const pictures = ["training", "validation", "test"].filter((part) => data?.[part]);
  return [
    ["Network", `${name}, version ${version}`],
    ["Takes", `${input.size} × ${input.size} pixels in ${input.channels === 1 ? "grey" : "colour"}`],
    ["Right", measured.test === null ? "not measured" : `${percent(measured.test)} of the test pictures${interval}`],
    ["Least right", worst ? `${worst[0]}, ${percent(worst[1])}` : "not measured"],
    ["Probabilities", calibration ? "calibrated" : "not calibrated: take them as an order, not as a share"],
    ["Unlike its training", typicality ? "told for each picture" : "cannot be told"],
    ["Pictures", pictures.map((part) => `${count(data[part])} for ${part}`).join(", ") || "not known"],
    ["Trained", [minutes, training?.date].filter(Boolean).join(", ") || "not known"],
  ];
}

/** The model card and the plots that the artifact brings. */
function plots({ name, version, files }) {
  const shown = { "README.md": "Model card", "confusion.png": "Confusion", "mislabelled.png": "Probably mislabelled" };
  const links = Object.entries(shown)
    .filter(([file]) => files[file])
    .map(([file, words]) => el("a", { href: `models/${name}@${version}/files/${file}` }, words));
  return links.length ? [el("p", { class: "row" }, ...links)] : [];
}

function suspects(mislabelled) {
  if (!mislabelled.length) return [];
  const lines = mislabelled
    .slice(0, MOST_LISTED)
    .map(({ path, file, label, predicted, probability }) =>
      el("li", {}, `${path ?? file ?? "a picture"}: ${label}, or rather ${predicted} (${percent(probability)})?`),
    );
  return [
    el(
      "details",
      {},
      el("summary", {}, `${mislabelled.length} pictures are probably mislabelled`),
      el("ul", {}, ...lines),
    ),
  ];
}
