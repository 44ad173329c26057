/**
 * A value as it is read: four digits, a true minus sign.
 * @param {number | null | string} value  @param {number} [digits] significant ones
 */
export function written(value, digits = 4) {
  if (value === null || value === undefined) return "missing";
  if (typeof value === "string") return value;
  return String(rounded(value, digits)).replace("-", "−");
}

/** Whole numbers stay whole: only what comes after the point is cut. */
export function rounded(value, digits) {
  if (Number.isInteger(value) || Math.abs(value) >= 10 ** digits) return Math.round(value) + 0;
  return Number(value.toPrecision(digits));
}

/** A share of 1 in per cent; what is neither none nor all never looks so. @param {number} share */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Counts in words of size: 1,234 or 12.3 M. @param {number} count */
export function count(count) {
  return count < 1e6 ? count.toLocaleString("en") : `${(count / 1e6).toFixed(1)} M`;
}

/** @param {number[]} shape */
export const size = (shape) => shape.join(" × ");
