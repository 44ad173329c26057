/** Viridis (Smith and van der Walt) in nine steps, dark for the least: the colours of the service's own pictures. */
const STOPS = ["440154", "472c7a", "3b518b", "2c718e", "21908d", "27ad81", "5cc863", "aadc32", "fde725"].map((hex) =>
  [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)),
);

const TABLE = Array.from({ length: 256 }, (_, i) => {
  const at = (i / 255) * (STOPS.length - 1);
  const from = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[from].map((low, c) => Math.round(low + (STOPS[from + 1][c] - low) * (at - from)));
});

/**
 * Draw rows of numbers, a pixel each.
 * @param {HTMLCanvasElement} canvas
 * @param {number[][]} rows
 * @param {number} low @param {number} high  what is drawn darkest and brightest
 */
export function draw(canvas, rows, low, high) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  const scale = high > low ? 255 / (high - low) : 0;
  rows.flat().forEach((value, i) => {
    const shade = Math.max(0, Math.min(255, Math.round((value - low) * scale)));
    image.data.set([...TABLE[shade], 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}
