/**
 * An element with properties, attributes and children; a function is a listener for the event of that name.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * Radio buttons in a group: one stop of the Tab key, arrow keys within.
 * @param {object} group
 * @param {string} group.legend   what the choice is about
 * @param {boolean} [group.shown] whether the legend is for all, and not only for those who do not see the page
 * @param {string} group.name
 * @param {string} [group.class]
 * @param {(value: string) => void} group.choose
 */
export function choices({ legend, shown = false, name, class: className = "", choose }) {
  const list = el("div", { class: `choices ${className}` });
  const root = el(
    "fieldset",
    { class: "choices-box" },
    el("legend", { class: shown ? "small" : "visually-hidden" }, legend),
    list,
  );
  return {
    root,
    /**
     * @param {{value: string | number, label?: string, content: (Node | string)[]}[]} options
     * @param {string | number} chosen
     */
    fill(options, chosen) {
      list.replaceChildren(
        ...options.map(({ value, label, content }) => {
          const input = el("input", {
            type: "radio",
            name,
            value,
            checked: String(value) === String(chosen),
            "aria-label": label,
            change: () => choose(input.value),
          });
          return el("label", { class: "choice", title: label }, input, ...content);
        }),
      );
    },
    /** Check the button of `value`; none where there is no such. */
    check(value) {
      for (const input of list.querySelectorAll("input")) input.checked = input.value === String(value);
    },
  };
}

/** What the colours from dark to bright mean. @param {string} least @param {string} most  words, with their own dots */
export const legend = (least, most) => [
  `${least} `,
  el("span", { class: "scale__bar", "aria-hidden": "true" }),
  ` ${most}`,
];

/** The page's picture with something laid over it, at the picture's own aspect. @param {HTMLElement} cover */
export function over(cover) {
  const image = el("img", { alt: "", width: 320, height: 320 });
  const root = el("div", { class: "over" }, image, cover);
  return {
    root,
    /** @param {{url: string, name: string, width: number, height: number}} picture */
    show({ url, name, width, height }) {
      image.src = url;
      image.alt = `The picture: ${name}`;
      image.classList.toggle("pixelated", Math.max(width, height) <= 64);
      root.style.setProperty("--aspect", `${width} / ${height}`);
      root.classList.toggle("over--tall", height > width);
    },
  };
}

/**
 * Keep the focus on the page: if it is inside an element that is about to go, move it to the element around that.
 * @param {HTMLElement} going
 */
export function passFocusOn(going) {
  if (!going.contains(document.activeElement)) return;
  const around = /** @type {HTMLElement} */ (going.parentElement);
  around.tabIndex = -1;
  around.focus({ preventScroll: true });
}

/** Whether the service or the way to it failed, so that the same request may succeed later. */
export const isTheServices = ({ status = 400 }) => status === 0 || status >= 500;

/** A place for an error in words, which offers another attempt where that may help. @param {() => void} [retry] */
export function errorBox(retry) {
  const root = el("div", { class: "error", role: "alert", hidden: true });
  return {
    root,
    /** @param {Error & {status?: number, requestId?: string}} error @param {string} [about]  what it is about */
    show(error, about) {
      const retried = root.contains(document.activeElement);
      const again = retry && isTheServices(error);
      passFocusOn(root);
      root.replaceChildren(
        el("p", {}, ...(about ? [el("strong", {}, `${about}: `)] : []), error.message),
        ...(error.requestId ? [el("p", { class: "small" }, `Request ${error.requestId}`)] : []),
        ...(again ? [el("button", { type: "button", class: "button", click: retry }, "Try again")] : []),
      );
      root.hidden = false;
      if (retried) root.querySelector("button")?.focus();
    },
    clear() {
      passFocusOn(root);
      root.hidden = true;
      root.replaceChildren();
    },
  };
}

/** For how many answers an element waits. @type {WeakMap<HTMLElement, number>} */
const awaited = new WeakMap();

/** Mark an element as busy while it waits for any answer. @param {HTMLElement} root @param {number} more */
function wait(root, more) {
  const answers = (awaited.get(root) ?? 0) + more;
  awaited.set(root, answers);
  root.setAttribute("aria-busy", String(answers > 0));
}

/**
 * Work of which only the newest run counts: an older run is aborted, and its answer is never shown.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T> | null} work   null if there is nothing to do yet
 * @param {(found: T) => void} show
 * @param {(error: any) => void} fail
 * @param {object} [options]
 * @param {HTMLElement} [options.root]  marked as busy from each call until its answer is there, and as stale from the
 *                                       second request on
 * @param {number} [options.pause]  milliseconds to wait for further calls, after the first call; 0 by default
 * @returns {() => void} starts the work; several calls in a row are one
 */
export function newest(work, show, fail, { root, pause = 0 } = {}) {
  let controller = new AbortController();
  let timer = 0;
  let asked = false;
  let shown = false;
  let waiting = false;
  function busy(now) {
    if (root && now !== waiting) wait(root, now ? 1 : -1);
    waiting = now;
  }
  async function run() {
    const mine = (controller = new AbortController());
    const promise = work(mine.signal);
    if (!promise) return busy(false);
    root?.classList.toggle("stale", shown);
    try {
      const found = await promise;
      if (mine.signal.aborted) return;
      root?.classList.remove("stale");
      shown = true;
      busy(false); // first, for what changes in a busy element may not be announced
      show(found);
    } catch (error) {
      if (mine.signal.aborted) return;
      busy(false);
      fail(error);
    }
  }
  return () => {
    controller.abort();
    clearTimeout(timer);
    busy(true);
    timer = setTimeout(run, asked ? pause : 0);
    asked = true;
  };
}
