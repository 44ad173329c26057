/** What lies beyond the border, to draw it; the sums come from the service, which has its own rule for it. */

/**
 * The index of the element that element `i` of a padded axis shows, or null for the fill value.
 * @param {number} i  may be below 0 or beyond n
 * @param {number} n  elements along the axis
 * @param {string} boundary
 */
export function source(i, n, boundary) {
  if (i >= 0 && i < n) return i;
  const turn = (period) => ((i % period) + period) % period;
  switch (boundary) {
    case "nearest":
      return i < 0 ? 0 : n - 1;
    case "wrap":
      return turn(n);
    case "reflect":
      return Math.min(turn(2 * n), 2 * n - 1 - turn(2 * n));
    case "mirror":
      return n === 1 ? 0 : Math.min(turn(2 * n - 2), 2 * n - 2 - turn(2 * n - 2));
    default:
      return null;
  }
}

/**
 * Where the window of one output lies on the padded input.
 * @param {{padding: [number, number][], size: number[], stride: number[], dilation: number[],
 *          input: number[]}} geometry
 */
export function windowAt(geometry, [row, column]) {
  const extent = (axis) => (geometry.size[axis] - 1) * geometry.dilation[axis] + 1;
  return { top: row * geometry.stride[0], left: column * geometry.stride[1], height: extent(0), width: extent(1) };
}

/** Rows and columns of the padded input. */
export function paddedShape({ input, padding }) {
  return [0, 1].map((axis) => input[axis] + padding[axis][0] + padding[axis][1]);
}

/** How the answer's outputs lie on its input of `input` rows and columns. */
export function geometryOf(applied, input) {
  const size = applied.size ?? [applied.mask.length, applied.mask[0].length];
  return { input, padding: applied.padding, size, stride: applied.stride, dilation: applied.dilation ?? [1, 1] };
}

/** The output whose window has its middle nearest to a point of the padded input. */
export function outputUnder(geometry, shape, [row, column]) {
  const { height, width } = windowAt(geometry, [0, 0]);
  return [
    [row, height],
    [column, width],
  ].map(([at, extent], axis) => {
    const index = Math.round((at - extent / 2) / geometry.stride[axis]);
    return Math.min(Math.max(index, 0), shape[axis] - 1);
  });
}
