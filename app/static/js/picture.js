import { el, choices, errorBox, newest } from "./dom.js";
import { camera } from "./camera.js";

const LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const SIDE = 32;

/**
 * The picture view: drop, paste, choose, take or pick one; shows it beside what the network receives.
 * @param {HTMLElement} root
 * @param {any} app
 */
export function mount(root, app) {
  /** @type {{blob: File, sample?: string} | null} */
  let wanted = null;
  const error = errorBox(() => open(wanted));
  const original = el("img", { class: "picture__image", alt: "", width: 320, height: 320 });
  const received = el("canvas", { class: "picture__image pixelated", width: SIDE, height: SIDE, role: "img", "aria-label": "The picture as the network receives it" });
  const name = el("figcaption", { class: "small" }, "\u00a0");
  const file = el("input", { type: "file", accept: "image/*", class: "visually-hidden", id: "picture-file", change: () => choose(file.files[0]) });
  const lens = camera((shot) => choose(shot), error);
  const samples = choices({
    legend: "Pictures of CIFAR-10's test set",
    name: "sample",
    class: "samples",
    choose: (label) => openSample(label),
  });
  samples.fill(
    LABELS.map((label) => ({ value: label, label, content: [el("img", { src: sampleAt(label), alt: "", width: 32, height: 32, class: "pixelated" })] })),
    "",
  );
  root.append(
    el(
      "div",
      { class: "picture__pair" },
      el("figure", {}, el("div", { class: "picture__frame" }, original), name),
      el("figure", {}, el("div", { class: "picture__frame" }, received), el("figcaption", { class: "small" }, "What the network receives: 32 × 32 pixels of its centre")),
    ),
    error.root,
    el(
      "div",
      { class: "row" },
      el("span", { class: "file" }, file, el("label", { for: "picture-file", class: "button" }, "Choose a picture")),
      lens.button,
      el("span", { class: "small" }, "or drop or paste one anywhere on the page"),
    ),
    lens.root,
    el("p", { class: "small" }, "Or one the network has never seen, from CIFAR-10's test set:"),
    samples.root,
  );

  const load = newest(
    (signal) => wanted && received32(wanted, signal),
    ({ picture, values }) => {
      const old = app.picture.current;
      const pixels = draw32(received, values);
      error.clear();
      original.src = picture.url;
      original.alt = `The picture: ${picture.name}`;
      original.classList.toggle("pixelated", Math.max(picture.width, picture.height) <= 64);
      name.textContent = `${picture.name}, ${picture.width} × ${picture.height} pixels`;
      samples.check(picture.sample ? picture.name.replace(".png", "") : "");
      app.link.set("picture", picture.sample ? { sample: picture.name.replace(".png", "") } : { name: picture.name, data: received.toDataURL().split(",")[1] });
      app.picture.set({ ...picture, pixels });
      app.announce(`Showing ${picture.name}`);
      if (old) setTimeout(() => URL.revokeObjectURL(old.url), 1000);
    },
    (problem) => error.show(problem, wanted.blob.name),
  );

  function open(picture) {
    wanted = picture;
    load();
  }

  function choose(blob) {
    file.value = "";
    if (blob) open({ blob });
  }

  async function openSample(label) {
    try {
      const response = await fetch(sampleAt(label));
      open({ blob: new File([await response.blob()], `${label}.png`, { type: "image/png" }), sample: sampleAt(label) });
    } catch {
      error.show(new app.api.ApiError(app.api.DEAD));
    }
  }

  async function received32({ blob, sample }, signal) {
    const answer = await app.api.json({ method: "POST", path: "/feature-maps", query: { layer: "image" }, parts: { image: blob }, signal });
    const values = answer.layers[0].maps.map((map) => map.values);
    const shown = await displayable(blob, signal, app.api);
    const bitmap = await createImageBitmap(shown);
    return { picture: { blob: shown, name: shown.name, sample, url: URL.createObjectURL(shown), width: bitmap.width, height: bitmap.height }, values };
  }

  for (const kind of ["dragenter", "dragover"]) {
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
    choose(event.dataTransfer.files[0]);
    root.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("paste", (event) => choose(event.clipboardData?.files[0]));

  const { sample, name: called, data } = app.link.get("picture") ?? {};
  const restored = typeof data === "string" && unpacked(data, `${called}`.replace(/(-32)?(\.\w+)?$/, "-32.png"));
  if (restored) open({ blob: restored });
  else openSample(LABELS.includes(sample) ? sample : "cat");
}

/** The picture that a link carries, null where that is none. @returns {File | null} */
function unpacked(data, name) {
  try {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    return new File([bytes], name, { type: "image/png" });
  } catch {
    return null;
  }
}

const sampleAt = (label) => `/static/pictures/${label}.png`;

/** The picture itself where this browser can show it, else the service's PNG of it. @returns {Promise<File>} */
async function displayable(blob, signal, api) {
  const file = blob.name ? blob : new File([blob], "picture.png", { type: blob.type });
  try {
    (await createImageBitmap(file)).close();
    return file;
  } catch {
    const options = JSON.stringify({ mask: "identity" });
    const found = await api.blob({ method: "POST", path: "/convolve", accept: "image/png", parts: { image: file, options }, signal });
    return new File([found.blob], file.name.replace(/(\.\w+)?$/, ".png"), { type: "image/png" });
  }
}

/** Draw the three channels of what the network receives, (32, 32) each of 0 to 255. @returns {ImageData} */
function draw32(canvas, channels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  image.data.fill(255);
  channels.forEach((rows, c) => rows.flat().forEach((value, i) => (image.data[4 * i + c] = value)));
  context.putImageData(image, 0, 0);
  return image;
}
