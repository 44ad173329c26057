import { el } from "../dom.js";
import { paddedShape, source } from "./padding.js";

/**
 * Something laid out in equal rows and columns, with an outline around some of them.
 * @param {(at: [number, number]) => void} [dragged]  called with the point of the grid under a pressed pointer
 */
export function surface(dragged) {
  const outline = el("div", { class: "cv-outline", "aria-hidden": "true", hidden: true });
  const holder = el("div", { class: "cv-surface__content" });
  const root = el("div", { class: "cv-surface" }, holder, outline);
  let shape = [1, 1];

  /** @param {MouseEvent} event @returns {[number, number]} */
  const point = (event) => {
    const box = root.getBoundingClientRect();
    return [((event.clientY - box.top) / box.height) * shape[0], ((event.clientX - box.left) / box.width) * shape[1]];
  };
  if (dragged) {
    root.classList.add("cv-surface--drag");
    root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || (event.pointerType === "touch" && event.target !== outline)) return;
      event.preventDefault();
      root.setPointerCapture(event.pointerId);
      dragged(point(event));
    });
    root.addEventListener("pointermove", (event) => {
      if (root.hasPointerCapture(event.pointerId)) dragged(point(event));
    });
    root.addEventListener("click", (event) => dragged(point(event))); // a tap, which is no drag on a touch screen
  }

  return {
    root,
    point,
    /** Show this element, which has so many rows and columns. */
    fill(content, rows, columns) {
      shape = [rows, columns];
      if (holder.firstChild !== content) holder.replaceChildren(content);
    },
    outline(rect) {
      outline.hidden = !rect;
      if (!rect) return;
      const [rows, columns] = shape;
      const share = {
        top: rect.top / rows,
        height: rect.height / rows,
        left: rect.left / columns,
        width: rect.width / columns,
      };
      for (const [name, value] of Object.entries(share)) outline.style.setProperty(name, `${100 * value}%`);
    },
  };
}

/** The most pixels of padding that are drawn. */
const MOST_PADDING = 1_000_000;

/**
 * A picture's pixels as the service sees them: on white, without its colour profile.
 * @param {Blob} blob
 * @returns {Promise<ImageData>}
 */
export async function pixels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = canvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/**
 * The picture with its padding around it, paler, on a canvas.
 * @param {ImageData} image
 * @param {{input: number[], padding: [number, number][]}} geometry
 * @param {string} boundary
 * @param {number} fill  what lies outside under the boundary `constant`
 */
export function padded(image, geometry, boundary, fill) {
  const [rows, columns] = paddedShape(geometry);
  const [[top], [left]] = geometry.padding;
  const result = canvas(columns, rows);
  const context = result.getContext("2d");
  if (rows * columns - image.width * image.height <= MOST_PADDING) {
    const frame = context.createImageData(columns, rows);
    for (let r = 0; r < rows; r++) {
      const inside = r >= top && r < top + image.height;
      for (let c = 0; c < columns; c++) {
        if (inside && c === left) c += image.width;
        if (c < columns) beyond(frame.data, 4 * (r * columns + c), image, r - top, c - left, boundary, fill);
      }
    }
    context.putImageData(frame, 0, 0);
  }
  context.putImageData(image, left, top);
  return result;
}

function beyond(data, at, image, row, column, boundary, fill) {
  const r = source(row, image.height, boundary);
  const c = source(column, image.width, boundary);
  for (let channel = 0; channel < 3; channel++) {
    data[at + channel] = r === null || c === null ? fill : image.data[4 * (r * image.width + c) + channel];
  }
  data[at + 3] = 80;
}

const canvas = (width, height) => el("canvas", { width, height, class: "cv-picture" });

/**
 * The picture made smaller, so that its longer side has `most` pixels.
 * @returns {Promise<{png: Blob, width: number, height: number}>}
 */
export async function shrunk(blob, most) {
  const bitmap = await createImageBitmap(blob);
  const scale = most / Math.max(bitmap.width, bitmap.height);
  const small = canvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, small.width, small.height);
  bitmap.close();
  return new Promise((resolve) =>
    small.toBlob((png) => resolve({ png, width: small.width, height: small.height }), "image/png"),
  );
}
