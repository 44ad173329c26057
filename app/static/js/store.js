/**
 * A value that others want to hear of.
 * @template T
 * @param {T} current
 */
export function store(current) {
  const listeners = new Set();
  return {
    get current() {
      return current;
    },
    /** @param {T} value */
    set(value) {
      current = value;
      for (const listener of listeners) listener(value);
    },
    /**
     * Calls `listener` now and on every change.
     * @param {(value: T) => void} listener
     */
    subscribe(listener) {
      listeners.add(listener);
      listener(current);
    },
  };
}
