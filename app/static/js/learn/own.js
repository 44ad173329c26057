import { PREFIX } from "../api.js";
import { button } from "../convolve/controls.js";
import { counted } from "../convolve/words.js";
import { el, errorBox, newest } from "../dom.js";
import { percent } from "../numbers.js";
import { namedRows } from "./rows.js";

/** The suffixes of the formats that the training reads. */
const READ = new Set(["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"]);

/** Different pictures that a label needs at least. */
const FEWEST = 3;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const SIZES = ["", "32", "64", "96", "128"];

/**
 * From a folder of pictures to a network: what is in the folder, the command that trains, and what is served.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  const saved = app.link.get("own") ?? {};
  const words = (/** @type {any} */ value, /** @type {string} */ otherwise) =>
    typeof value === "string" && value ? value : otherwise;
  const state = {
    folder: words(saved.folder, "pets"),
    name: words(saved.name, "pets"),
    minutes: Number.isFinite(saved.minutes) ? saved.minutes : 20,
    size: SIZES.includes(saved.size) ? saved.size : "",
  };
  const found = el("div", { class: "stack" });
  const chosen = el("input", {
    type: "file",
    id: "own-files",
    webkitdirectory: true,
    multiple: true,
    change: () => look([...chosen.files]),
  });
  const folder = field("Folder", el("input", { id: "own-folder", value: state.folder, input: read }));
  const name = field("Name of the network", el("input", { id: "own-name", value: state.name, input: read }));
  const minutes = field(
    "Minutes it may take",
    el("input", { id: "own-minutes", type: "number", min: 1, max: 10080, value: state.minutes, input: read }),
  );
  const size = field(
    "Size of the pictures in pixels",
    el(
      "select",
      { id: "own-size", change: read },
      ...SIZES.map((value) =>
        el("option", { value, selected: value === state.size }, value ? `${value} × ${value}` : "as suits"),
      ),
    ),
  );
  const wrong = el("p", { class: "error", role: "alert", hidden: true });
  const train = command("The command that trains");
  const ask = command("Then ask it");
  const served = namedRows("The networks that are served", ["Network", "labels", "right", "multiply-adds"]);
  const bad = el("ul", { class: "small" });
  const error = errorBox(() => askModels());
  root.append(
    el(
      "div",
      { class: "stack" },
      el("h3", {}, "1. Look into a folder"),
      el("label", { for: "own-files" }, "A folder with one folder of pictures for each label. Nothing is sent."),
      chosen,
      found,
    ),
    el(
      "div",
      { class: "stack" },
      el("h3", {}, "2. Train"),
      el("div", { class: "figure__columns" }, ...[folder, name, minutes, size].map(({ root }) => root)),
      wrong,
      train.root,
      el("h3", {}, "3. Ask"),
      ask.root,
    ),
    el(
      "div",
      { class: "stack" },
      el("h3", {}, "What this service serves now"),
      error.root,
      served.box,
      bad,
      el(
        "div",
        { class: "row" },
        button("Look again", () => askModels()),
      ),
    ),
  );

  /** A field with its name. @param {string} label @param {any} input */
  function field(label, input) {
    return { input, root: el("div", { class: "field" }, el("label", { for: input.id }, label), input) };
  }

  /** Lines to be copied into a terminal. @param {string} label */
  function command(label) {
    const text = el("pre", { class: "code mono", tabindex: 0, role: "region", "aria-label": label });
    const said = el("span", { class: "small", role: "status" });
    const copy = button("Copy", async () => {
      said.textContent = "";
      try {
        await navigator.clipboard.writeText(text.textContent);
        said.textContent = "Copied.";
      } catch {
        said.textContent = "This browser lets pages copy over HTTPS and from localhost only.";
      }
    });
    copy.setAttribute("aria-label", `Copy: ${label.toLowerCase()}`);
    return { root: el("div", { class: "stack" }, text, el("div", { class: "row" }, copy, said)), text };
  }

  function read() {
    Object.assign(state, {
      folder: folder.input.value.trim(),
      name: name.input.value.trim(),
      minutes: Number(minutes.input.value),
      size: size.input.value,
    });
    show();
  }

  function show() {
    const problem = problemOf(state);
    wrong.hidden = !problem;
    wrong.textContent = problem;
    if (problem) return;
    app.link.set("own", state);
    const options = [`--data ${quoted(state.folder)}`, `--name ${state.name}`, `--time ${state.minutes}m`];
    if (state.size) options.push(`--size ${state.size}`);
    train.text.textContent = `.venv/bin/convoscope train ${options.join(" ")}`;
    ask.text.textContent = `curl -F image=@photo.jpg '${location.origin}${PREFIX}/predict?model=${state.name}'`;
  }

  /** @param {File[]} files of the folder that was chosen */
  function look(files) {
    if (!files.length) return;
    const { top, counts, unread, outside } = sorted(files);
    const few = [...counts].filter(([, count]) => count < FEWEST).map(([label]) => label);
    const said = [
      ...(counts.size < 2
        ? ["A network needs at least two labels: one folder for each, with its pictures inside."]
        : []),
      ...(few.length ? [`Fewer than ${FEWEST} pictures: ${few.join(", ")}.`] : []),
      ...(unread
        ? [`${counted(unread, "file")} of another kind will be left out; a phone’s HEIC has to be exported as JPEG.`]
        : []),
      ...(outside ? [`${counted(outside, "picture")} in no label’s folder.`] : []),
    ];
    found.replaceChildren(
      el(
        "ul",
        {},
        ...[...counts].map(([label, count]) => el("li", {}, el("strong", {}, label), `: ${counted(count, "picture")}`)),
      ),
      ...said.map((sentence) => el("p", {}, sentence)),
    );
    app.announce(`${counts.size} labels. ${said.join(" ")}`);
    folder.input.value = top;
    if (NAME.test(top)) name.input.value = top;
    read();
  }

  const askModels = newest(
    (signal) => app.api.json({ method: "GET", path: "/models", signal }),
    ({ models, unavailable }) => {
      error.clear();
      served.fill(
        models.map((/** @type {any} */ model) => [
          el("a", { href: pageOf(model.name) }, model.name),
          String(model.label_count),
          model.accuracy === null ? "not measured" : percent(model.accuracy),
          `${(model.multiply_adds / 1e6).toFixed(1)} M`,
        ]),
      );
      bad.replaceChildren(
        ...Object.entries(unavailable).map(([name, reason]) => el("li", {}, `${name} cannot be served: ${reason}`)),
      );
    },
    (problem) => error.show(problem),
    { root: served.root },
  );

  show();
  askModels();
}

/** The service’s page, with this network chosen. @param {string} name */
const pageOf = (name) => `${PREFIX}/#${new URLSearchParams({ predict: JSON.stringify({ model: name }) })}`;

/**
 * What is wrong with the fields, "" where nothing is.
 * @param {{folder: string, name: string, minutes: number}} fields
 */
function problemOf({ folder, name, minutes }) {
  if (!folder) return "Folder is empty; expected the folder that holds one folder for each label.";
  if (!NAME.test(name))
    return (
      `Name is “${name}”; expected up to 64 letters, digits, dots, hyphens and underscores, ` +
      "beginning with a letter or digit."
    );
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > 10080)
    return "Minutes: expected a whole number from 1 to 10080, a week.";
  return "";
}

/** A word for the shell. @param {string} text */
const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/**
 * The pictures of each label of a folder that was chosen in the browser.
 * @param {File[]} files
 */
function sorted(files) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  let [unread, outside] = [0, 0];
  for (const file of files) {
    const [, ...inside] = file.webkitRelativePath.split("/");
    if (inside.some((part) => part.startsWith("."))) continue;
    if (!READ.has(file.name.split(".").at(-1)?.toLowerCase() ?? "")) unread += 1;
    else if (inside.length < 2) outside += 1;
    else counts.set(inside[0], (counts.get(inside[0]) ?? 0) + 1);
  }
  return { top: files[0].webkitRelativePath.split("/")[0], counts, unread, outside };
}
