/** Sums and what was done, written out. */

import { rounded, written } from "../numbers.js";

const factor = (value) => (value < 0 ? `(${written(value)})` : written(value));

/**
 * How one output comes about, e.g. "5·2 + 4·4 + 2·8 + 1·10 = 52", and what there is to say about it.
 * @param {{mask: any[][], window: any[][], products: any[][], sum: number | null, scale: number | null,
 *          output: number | null}} trace
 * @param {string} activation
 * @returns {{sum: string, note: string}}
 */
export function sumOf(trace, activation) {
  const terms = [];
  let nothing = 0;
  let inexact = false;
  trace.window.forEach((row, r) =>
    row.forEach((value, c) => {
      const weight = trace.mask[r][c];
      if (weight === 0 || value === 0) nothing += 1;
      else terms.push(`${factor(weight)}·${factor(value)}`);
      inexact ||= [weight, value].some((n) => n !== null && rounded(n, 4) !== n);
    }),
  );
  const notes = [];
  if (nothing) notes.push(`${counted(nothing, "product")} of 0 left out.`);
  if (inexact) notes.push("Written with four digits, computed with all.");
  if (terms.some((term) => term.includes("missing"))) notes.push(missingNote(trace));
  return { sum: `${terms.join(" + ") || "0"} = ${ending(trace, activation)}`, note: notes.join(" ") };
}

function ending({ sum, scale, output }, activation) {
  if (output === null) return written(null);
  let text = written(sum, 6);
  if (scale !== 1 && scale !== null && sum !== null) text += `, times ${written(scale)}`;
  if (activation !== "none" && sum !== null) text += `, through ${activation}`;
  return text === written(sum, 6) ? text : `${text} = ${written(output, 6)}`;
}

function missingNote({ output, scale }) {
  if (scale === null) return "The weights of what is present add up to 0, so the output is missing.";
  return output === null ? "A missing value in the window makes the output missing." : "Missing values do not count.";
}

export const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** What the service says it did, in words. */
export function appliedWords(answer) {
  const { applied, shape } = answer;
  const [[top, bottom], [left, right]] = applied.padding;
  const channels = shape[2] ? `, ${counted(shape[2], "channel")}` : "";
  const numbers = `${counted(shape[0], "row")}, ${counted(shape[1], "column")}`;
  const size = `Output: ${answer.image ? `${shape[1]} × ${shape[0]} pixels${channels}` : numbers}.`;
  const edges = top + bottom + left + right;
  const padding = edges ? `Padding: ${top} above, ${bottom} below, ${left} left, ${right} right.` : "No padding.";
  if (!applied.method) return `${size} ${padding.replace("Padding", "Windows overhang")}`;
  const method = applied.method === "fft" ? "through the Fourier transform" : "by multiplying and adding";
  return `${size} ${padding} Computed ${method}.`;
}

/** How numbers became pixels. */
export function displayWords(display) {
  return {
    clamp: "Below 0 is black, above 255 is white.",
    absolute: "Magnitudes: −200 looks like 200; above 255 is white.",
    rescale: "Stretched: the smallest value is black, the largest is white.",
  }[display];
}
