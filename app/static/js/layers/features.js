/** Features that are drawn in one row. */
const ONE_ROW = 32;

/** How many features of a layer's output belong together: the channels of each place that a flatten layer lists. */
export const together = (layer) => (layer?.kind === "flatten" ? layer.input_shapes[0].at(-1) : 1);

/**
 * A list of features in rows, about as wide as high; the rest of the last row is `empty`. Where each `group` features
 * belong together, a row holds whole groups of them.
 * @param {number[]} features @param {number} group @param {number} empty
 * @returns {number[][]}
 */
export function inRows(features, group, empty) {
  const count = features.length;
  const square = group * Math.max(1, Math.round(Math.sqrt(count) / group));
  const width = count <= ONE_ROW ? count : Math.min(count, square);
  const padded = Array.from({ length: Math.ceil(count / width) * width }, (_, i) => features[i] ?? empty);
  return Array.from({ length: padded.length / width }, (_, row) => padded.slice(row * width, (row + 1) * width));
}
