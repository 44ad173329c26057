/** How outputs come about, asked of the service one at a time and kept; while one is on its way only the last waits. */
export class Traces {
  #ask;
  #kept = new Map();
  /** @type {Promise<object[]> | null} */
  #busy = null;

  /** @param {(at: [number, number]) => Promise<object[]>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /** @returns {Promise<object[] | null>} one trace a channel, or null where another output was asked for since */
  async at(at) {
    const key = at.join();
    this.wanted = key;
    while (this.#busy) await this.#busy.catch(() => null);
    if (this.wanted !== key) return null;
    if (!this.#kept.has(key)) {
      this.#busy = this.#ask(at).finally(() => (this.#busy = null));
      this.#kept.set(key, await this.#busy);
    }
    return this.wanted === key ? this.#kept.get(key) : null;
  }
}
