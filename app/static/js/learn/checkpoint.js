/**
 * The first two convolutions of a network at one moment of its training.
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} values
 * @typedef {{kernel: Tensor, bias: Tensor}[]} Checkpoint  kernels are (rows, columns, channels in, filters)
 */

/**
 * The checkpoints of a run, as `convoscope film` writes them: frame after frame each tensor in eight bits, to be
 * multiplied by its number in the frame's `scales`.
 * @param {{weights: string, shapes: number[][], epochs: {scales: number[]}[]}} run
 * @returns {Checkpoint[]}
 */
export function decode({ weights, shapes, epochs }) {
  const bytes = Int8Array.from(atob(weights), (letter) => letter.charCodeAt(0));
  let at = 0;
  return epochs.map(({ scales }) => {
    const tensors = shapes.map((shape, which) => {
      const size = shape.reduce((product, length) => product * length, 1);
      const values = Float32Array.from(bytes.subarray(at, at + size), (value) => value * scales[which]);
      at += size;
      return { shape, values };
    });
    return [0, 2].map((first) => ({ kernel: tensors[first], bias: tensors[first + 1] }));
  });
}

/**
 * Every map of a convolution with ReLU, at a stride of 1.
 * @param {number[][][]} input  its maps, each rows of numbers
 * @param {{kernel: Tensor, bias: Tensor}} layer
 * @param {string} padding  "same" or "valid"
 * @returns {number[][][]}
 */
export function maps(input, { kernel, bias }, padding) {
  const [height, width, channels, filters] = kernel.shape;
  const [top, left] = padding === "same" ? [(height - 1) >> 1, (width - 1) >> 1] : [0, 0];
  const [rows, columns] = [input[0].length, input[0][0].length];
  const [down, across] = padding === "same" ? [rows, columns] : [rows - height + 1, columns - width + 1];
  return Array.from({ length: filters }, (_, filter) =>
    Array.from({ length: down }, (_, r) =>
      Array.from({ length: across }, (_, c) => {
        let sum = bias.values[filter];
        for (let i = 0; i < height; i++) {
          for (let j = 0; j < width; j++) {
            const weights = (i * width + j) * channels * filters + filter;
            for (let channel = 0; channel < channels; channel++)
              sum += (input[channel][r + i - top]?.[c + j - left] ?? 0) * kernel.values[weights + channel * filters];
          }
        }
        return Math.max(0, sum);
      }),
    ),
  );
}
