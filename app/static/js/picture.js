import { PREFIX } from "./api.js";
import { el, choices, errorBox, newest } from "./dom.js";
import { camera } from "./camera.js";

/** The pictures that the page brings: of CIFAR-10's test set, one of each label. */
const SAMPLES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/** Example pictures of an artifact that are shown. */
const MOST_EXAMPLES = 40;
/** Pixels along each side of a picture that fits into a link. */
const MOST_IN_LINK = 64;
const FITS = { balanced: "of its centre", crop: "of the square in its centre", stretch: "of all of it, squashed" };

/**
 * The picture view: drop, paste, choose, take or pick one; shows it beside what the network receives.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  /** What is to be shown: a file, `saved` where the visitor has it by its name, or one of our samples.
   *  @type {{blob?: File, saved?: boolean, label?: string} | null} */
  let wanted = null;
  const error = errorBox(() => open(wanted));
  const original = el("img", { class: "picture__image", alt: "", width: 320, height: 320 });
  const received = el("canvas", {
    class: "picture__image pixelated",
    width: 1,
    height: 1,
    role: "img",
    "aria-label": "The picture as the network receives it",
  });
  const name = el("figcaption", { class: "small" }, "\u00a0");
  const file = el("input", {
    type: "file",
    accept: "image/*",
    class: "visually-hidden",
    id: "picture-file",
    change: () => choose(file.files[0], true),
  });
  const lens = camera((shot) => choose(shot), error);
  const samples = choices({
    legend: "Pictures that the network has never seen",
    name: "sample",
    class: "samples",
    choose: (value) => (SAMPLES.includes(value) ? open({ label: value }) : choose(examples[Number(value)])),
  });
  /** The example pictures of the network that is asked. @type {File[]} */
  let examples = [];
  const offered = el("p", { class: "small" }, "\u00a0");
  const seen = el("figcaption", { class: "small" }, "What the network receives");
  const receipt = el("figure", { class: "picture__received" }, el("div", { class: "picture__frame" }, received), seen);
  offerSamples();
  root.append(
    el(
      "div",
      { class: "row" },
      el("span", { class: "file" }, file, el("label", { for: "picture-file", class: "button" }, "Choose a picture")),
      lens.button,
    ),
    lens.root,
    error.root,
    el("figure", { class: "stage" }, el("div", { class: "picture__frame" }, original), name),
    receipt,
    el("p", { class: "small" }, "Drop or paste a picture anywhere on the page."),
    offered,
    samples.root,
  );

  const load = newest(
    (signal) => wanted && opened(wanted, signal),
    ({ shown, values }) => {
      const old = app.picture.current;
      const picture = { ...shown, url: URL.createObjectURL(shown.blob) };
      if (values) draw(received, values);
      error.clear();
      original.src = picture.url;
      original.alt = `The picture: ${picture.name}`;
      original.classList.toggle("pixelated", Math.max(picture.width, picture.height) <= 64);
      const save = el("a", { href: picture.url, download: picture.name }, "Save it");
      name.replaceChildren(
        `${picture.name}, ${picture.width} × ${picture.height} pixels`,
        ...(picture.saved ? [] : [". ", save]),
      );
      samples.check(
        picture.sample ? picture.name.replace(".png", "") : examples.findIndex((file) => file === wanted?.blob),
      );
      app.link.set(
        "picture",
        picture.sample
          ? { sample: picture.name.replace(".png", "") }
          : {
              name: picture.name,
              ...(received.width <= MOST_IN_LINK ? { data: received.toDataURL().split(",")[1] } : {}),
            },
      );
      app.picture.set(picture);
      if (!values) receive();
      app.announce(`Showing ${picture.name}`);
      if (old) setTimeout(() => URL.revokeObjectURL(old.url), 1000);
    },
    fail,
  );

  /** How a network receives a sample, which needs no check before it is shown and asked about. */
  const receive = newest(
    async (signal) => {
      const picture = app.picture.current;
      return { picture, values: await asReceived(picture.blob, signal) };
    },
    ({ picture, values }) => picture === app.picture.current && draw(received, values),
    fail,
    { root: receipt },
  );

  function fail(problem) {
    error.show(problem, wanted?.label ? `${wanted.label}.png` : wanted?.blob?.name);
    app.settle();
  }

  function open(picture) {
    wanted = picture;
    load();
  }

  function choose(blob, saved = false) {
    file.value = "";
    if (blob) open({ blob, saved });
  }

  /** @param {{blob?: File, saved?: boolean, label?: string}} wanted @param {AbortSignal} signal */
  async function opened({ blob, saved, label }, signal) {
    const sent = blob ? await inMemory(blob) : await sampleFile(label, signal);
    const values = blob ? await asReceived(sent, signal) : null;
    const { file, width, height } = await displayable(sent, signal, app.api);
    const sample = label && sampleAt(label);
    return {
      shown: { blob: file, name: file.name, sample, saved: Boolean(sample) || (saved && file === sent), width, height },
      values,
    };
  }

  /** The picture as the network receives it, one channel of grey or three of colour. */
  async function asReceived(sent, signal) {
    const answer = await app.api.json({
      method: "POST",
      path: "/feature-maps",
      query: { layer: "image", ...(app.model.current ? { model: app.model.current } : {}) },
      parts: { image: sent },
      signal,
    });
    return answer.layers[0].maps.map((map) => map.values);
  }

  async function sampleFile(label, signal) {
    const found = await app.api.blob({ method: "GET", path: sampleAt(label), signal });
    return new File([found.blob], `${label}.png`, { type: "image/png" });
  }

  /** A small picture, which is not loaded before the first answer is there. @param {string} src */
  function thumbnail(src) {
    const image = el("img", { alt: "", width: 32, height: 32, class: "pixelated" });
    if (app.answered.current) image.src = src;
    else app.answered.subscribe((answered) => answered && (image.src = src));
    return image;
  }

  /** Offer the pictures that the page brings. */
  function offerSamples() {
    offered.textContent = "Or one the network has never seen, from CIFAR-10's test set:";
    samples.fill(
      SAMPLES.map((label) => ({ value: label, label, content: [thumbnail(PREFIX + sampleAt(label))] })),
      app.picture.current?.sample ? app.picture.current.name.replace(".png", "") : "",
    );
  }

  const askExamples = newest(
    (signal) => app.network.current && exampleFiles(app.network.current, signal),
    (found) => {
      const { labels } = app.network.current;
      examples = found;
      samples.root.hidden = !found.length;
      if (SAMPLES.every((label) => labels.includes(label)) && !found.length) {
        samples.root.hidden = false;
        offerSamples();
        return;
      }
      offered.textContent = found.length
        ? "Or one of its example pictures, which it was not trained on:"
        : "This network brings no example pictures.";
      samples.fill(
        found.map((file, i) => ({ value: i, label: file.name, content: [thumbnail(URL.createObjectURL(file))] })),
        "",
      );
    },
    (problem) => error.show(problem, "The example pictures"),
  );

  /** The example pictures of a network as files that are called by their labels. @returns {Promise<File[]>} */
  function exampleFiles({ name, version, examples: listed }, signal) {
    return Promise.all(
      listed.slice(0, MOST_EXAMPLES).map(async ({ file, label }) => {
        const found = await app.api.blob({ method: "GET", path: `/models/${name}@${version}/files/${file}`, signal });
        return new File([found.blob], `${label}.${file.split(".").at(-1)}`, { type: found.blob.type });
      }),
    );
  }

  /** Of which form the picture was drawn as received. */
  let form = "";
  app.network.subscribe((network) => {
    if (!network) return;
    const { size, channels, fit } = network.input;
    const pixels = channels === 1 ? "grey pixels" : "pixels";
    seen.textContent = `What the network receives: ${size} × ${size} ${pixels} ${FITS[fit]}`;
    const now = JSON.stringify(network.input);
    if (form && form !== now) load();
    form = now;
    askExamples();
  });

  for (const kind of /** @type {const} */ (["dragenter", "dragover"])) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    choose(event.dataTransfer.files[0], true);
    root.scrollIntoView({ block: "nearest" });
  });
  // Spreadsheets put a picture of their cells beside the text: what is pasted into a field is meant for the field.
  const FIELDS = "textarea, input:not([type=radio], [type=checkbox], [type=range], [type=file])";
  document.addEventListener(
    "paste",
    (event) =>
      (event.target instanceof Element && event.target.closest(FIELDS)) || choose(event.clipboardData?.files[0]),
  );

  const { sample, name: called, data } = app.link.get("picture") ?? {};
  const restored = typeof data === "string" && unpacked(data, `${called}`.replace(/(-\d+)?(\.\w+)?$/, ""));
  if (restored) open({ blob: restored });
  else open({ label: SAMPLES.includes(sample) ? sample : "cat" });
}

/** What is in a file now: on the disk it may change, and could then be sent no more. @returns {Promise<File>} */
async function inMemory(file) {
  try {
    return new File([await file.arrayBuffer()], file.name, { type: file.type });
  } catch {
    throw new Error(
      "This file cannot be read. Choose a picture, not a folder; if the file was changed or moved, choose it again.",
    );
  }
}

/** The picture that a link carries, null where that is none. @returns {File | null} */
function unpacked(data, name) {
  try {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const width = new DataView(bytes.buffer).getUint32(16); // of the PNG's header
    return new File([bytes], `${name}-${width}.png`, { type: "image/png" });
  } catch {
    return null;
  }
}

const sampleAt = (label) => `/static/pictures/${label}.png`;

/** The picture itself where this browser can show it, else the service's PNG of it, and its size in pixels. */
async function displayable(blob, signal, api) {
  const file = blob.name ? blob : new File([blob], "picture.png", { type: blob.type });
  try {
    return await measured(file);
  } catch {
    const options = JSON.stringify({ mask: "identity" });
    const found = await api.blob({
      method: "POST",
      path: "/convolve",
      accept: "image/png",
      parts: { image: file, options },
      signal,
    });
    return measured(new File([found.blob], file.name.replace(/(\.\w+)?$/, ".png"), { type: "image/png" }));
  }
}

/** @param {File} file @returns {Promise<{file: File, width: number, height: number}>} */
async function measured(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  bitmap.close();
  return { file, width, height };
}

/** Draw what the network receives: one channel of grey or three of colour, rows of 0 to 255. */
function draw(canvas, channels) {
  canvas.width = canvas.height = channels[0].length;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  image.data.fill(255);
  [0, 1, 2].forEach((c) => (channels[c] ?? channels[0]).flat().forEach((value, i) => (image.data[4 * i + c] = value)));
  context.putImageData(image, 0, 0);
}
