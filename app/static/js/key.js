import { el } from "./dom.js";

const NAME = "convoscope-api-key";
const UNKNOWN = "The service does not know this key.";

/** @type {string | null} where the browser lets the page keep nothing, for as long as the page is open */
let key = null;
try {
  key = sessionStorage.getItem(NAME);
} catch {
  // The page was told to keep nothing.
}

/** @type {Promise<void> | null} */
let asking = null;

/** The API key that was entered in this tab, null before. */
export const current = () => key;

/**
 * Ask for a key, unless that is being done or another was entered meanwhile.
 * @param {string | null} rejected  the key that the service did not accept
 * @returns {Promise<boolean>} whether there is a key other than `rejected` now
 */
export async function ask(rejected) {
  if (key === rejected) await (asking ??= entered(rejected).finally(() => (asking = null)));
  return key !== rejected;
}

/** Returns when a key was entered, or the dialog closed without. @param {string | null} rejected */
function entered(rejected) {
  const said = el("p", { class: "small", role: "status" }, rejected ? UNKNOWN : "");
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const enter = (event) => {
    event.preventDefault();
    const words = input.value.trim();
    if (words === rejected) said.textContent = UNKNOWN;
    else if (!/^[!-~]+$/.test(words)) said.textContent = "A key has neither spaces nor characters outside ASCII.";
    else {
      keep(words);
      dialog.close();
    }
  };
  const dialog = el(
    "dialog",
    { class: "key-dialog", "aria-labelledby": "key-title" },
    el(
      "form",
      { submit: enter },
      el("h2", { id: "key-title" }, "This service needs an API key"),
      el("label", {}, "Key ", input),
      el("p", { class: "small" }, "It is kept in this tab only, until you close it."),
      said,
      el(
        "div",
        { class: "row" },
        el("button", { type: "submit", class: "button" }, "Use it"),
        el("button", { type: "button", class: "button button--quiet", click: () => dialog.close() }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(undefined);
    }),
  );
}

/** @param {string} words */
function keep(words) {
  key = words;
  try {
    sessionStorage.setItem(NAME, words);
  } catch {
    // Then it is asked for again when the page is loaded again.
  }
}
