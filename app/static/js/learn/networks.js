/**
 * The served networks, those that compute least first: the smallest is the easiest to look into.
 * @param {any} app
 * @param {AbortSignal} [signal]
 * @returns {Promise<any[]>} as GET /models lists them
 */
export async function networks(app, signal) {
  const { models } = await app.api.json({ method: "GET", path: "/models", signal });
  return models.sort((/** @type {any} */ one, /** @type {any} */ other) => one.multiply_adds - other.multiply_adds);
}

/**
 * The first network that has what a figure needs, as GET /models/{name} describes it; null where there is none.
 * @param {any} app
 * @param {string[]} names  in the order in which they are asked
 * @param {(model: any) => unknown} fits
 * @param {AbortSignal} [signal]
 */
export async function firstThat(app, names, fits, signal) {
  for (const name of names) {
    const model = await app.api.json({ method: "GET", path: `/models/${name}`, signal });
    if (fits(model)) return model;
  }
  return null;
}
