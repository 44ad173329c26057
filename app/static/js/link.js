const PAUSE = 250;

/**
 * The state of the views. A link carries it after #, each view's as JSON. Between links it is kept in the history
 * entry: a reload restores it, and the address stays short until somebody asks for a link.
 * @param {Location} location
 */
export function link(location) {
  const fromLink = read(location.hash);
  const opened = Object.keys(fromLink).length ? fromLink : (history.state?.views ?? {});
  const now = { ...opened };
  const listeners = [];
  let timer = 0;

  function flush() {
    clearTimeout(timer);
    history.replaceState({ views: now }, "", location.pathname + location.search);
  }

  addEventListener("hashchange", () => {
    if (Object.keys(read(location.hash)).length)
      location.reload(); // another link, pasted into this page's address
    else flush(); // a place on the page, such as #layers, holds no state
  });

  // A place on the page is gone to without a step in the history, for Back would come upon the state before as a link.
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    /** @type {HTMLAnchorElement | null} */
    const link = event.target.closest("a[href^='#']");
    const place = link && document.getElementById(link.hash.slice(1));
    if (!place || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
    place.scrollIntoView();
  });

  return {
    /** What the page was opened with. @param {string} view @returns {any} */
    get: (view) => opened[view],
    /** @param {string} view @param {object} state */
    set(view, state) {
      now[view] = structuredClone(state);
      clearTimeout(timer);
      timer = setTimeout(flush, PAUSE);
      for (const listener of listeners) listener();
    },
    /** Calls `listener` whenever a view has set something. @param {() => void} listener */
    subscribe(listener) {
      listeners.push(listener);
    },
    /** The address that restores what is shown now. */
    address() {
      const views = Object.entries(now).map(([view, state]) => [view, JSON.stringify(state)]);
      return `${location.href.split("#")[0]}#${new URLSearchParams(views)}`;
    },
  };
}

/** A fragment that is not ours, or was cut, restores nothing. */
function read(hash) {
  const states = {};
  for (const [view, text] of new URLSearchParams(hash.slice(1))) {
    try {
      states[view] = JSON.parse(text);
    } catch {
      continue;
    }
  }
  return states;
}
