import { el, errorBox, isTheServices, passFocusOn } from "../dom.js";

/** Shows the service's errors next to the fields they name, and every other error in one place, `general`. */
export class Problems {
  #boxes = [];
  #marks = [];
  #state;

  /** @param {any} state @param {() => void} retry  another attempt, offered where that may help */
  constructor(state, retry) {
    this.#state = state;
    this.#general = errorBox(retry);
  }

  #general;

  /** The place for errors that no field caused. */
  get general() {
    return this.#general.root;
  }

  /** A place for errors of the field at this JSON pointer, for one of the two tools or both. */
  box(pointer, tool) {
    const box = alert();
    this.#boxes.push({ pointer, tool, box });
    return box;
  }

  /** Call `mark` with the exact pointer of an error at or below `pointer`, and with undefined where there is none. */
  onError(pointer, mark, tool) {
    this.#marks.push({ pointer, mark, tool });
  }

  clear() {
    this.#general.clear();
    this.#clearFields();
  }

  #clearFields() {
    for (const { box } of this.#boxes) say(box, "");
    for (const { mark } of this.#marks) mark(undefined);
  }

  /** @param {Error & {errors?: {field: string, detail: string}[], status?: number}} problem */
  show(problem) {
    this.#clearFields();
    const elsewhere = isTheServices(problem) ? [problem.message] : this.#showInFields(problem);
    if (elsewhere.length) this.#general.show({ ...problem, message: elsewhere.join(" ") });
    else this.#general.clear();
  }

  /**
   * Show each error next to its field.
   * @param {{errors?: {field: string, detail: string}[], message: string}} problem
   * @returns {string[]} the errors that name no field of the page
   */
  #showInFields({ errors = [], message }) {
    const all = errors.length ? errors : [{ field: "", detail: message }];
    return all.filter(({ field, detail }) => !this.#showInField(pointerOf(field), detail)).map(({ detail }) => detail);
  }

  #showInField(pointer, detail) {
    const about = ({ pointer: of, tool }) => under(pointer, of) && (!tool || tool === this.#state.tool);
    const found = this.#boxes.find(about);
    if (found) say(found.box, detail);
    this.#marks.filter(about).forEach(({ mark }) => mark(pointer));
    return found !== undefined;
  }
}

/** A picture is sent as a part or a body, and is the convolution's input. */
const pointerOf = (field) => (["image", "body"].includes(field) ? "/input" : field);

const under = (pointer, of) => pointer === of || pointer.startsWith(`${of}/`);

let boxes = 0;
const alert = () => el("p", { class: "error", role: "alert", id: `cv-problem-${++boxes}`, hidden: true });

function say(box, text) {
  if (text === "") passFocusOn(box);
  box.hidden = text === "";
  if (box.textContent !== text) box.textContent = text;
}
