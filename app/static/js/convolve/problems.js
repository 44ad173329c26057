import { el, passFocusOn } from "../dom.js";
import { button } from "./controls.js";

/** The service's words about what is wrong, beside the fields they are about. */
export class Problems {
  /** For what no field caused. */
  general = alert();
  #boxes = [];
  #marks = [];
  #state;

  #retry;

  /** @param {object} state @param {() => void} retry  another attempt, offered where that may help */
  constructor(state, retry) {
    this.#state = state;
    this.#retry = retry;
  }

  /** A place for what is said of the field at this JSON pointer, for one of the two tools or both. */
  box(pointer, tool) {
    const box = alert();
    this.#boxes.push({ pointer, tool, box });
    return box;
  }

  /** `mark` is called with the exact pointer of a problem at or below `pointer`, and with undefined where there is none. */
  onError(pointer, mark, tool) {
    this.#marks.push({ pointer, mark, tool });
  }

  clear() {
    for (const box of [this.general, ...this.#boxes.map((b) => b.box)]) say(box, "");
    for (const { mark } of this.#marks) mark(undefined);
  }

  /** @param {{message: string, errors?: {field: string, detail: string}[], status?: number}} problem */
  show(problem) {
    const retried = this.general.contains(document.activeElement);
    this.clear();
    const status = problem.status ?? 400;
    if (status === 0 || status >= 500) {
      this.general.replaceChildren(problem.message, " ", button("Try again", this.#retry));
      this.general.hidden = false;
      if (retried) this.general.querySelector("button").focus();
      return;
    }
    const errors = problem.errors?.length ? problem.errors : [{ field: "", detail: problem.message }];
    for (const { field, detail } of errors) {
      const pointer = ["image", "body"].includes(field) ? "/input" : field;
      const about = ({ pointer: of, tool }) => under(pointer, of) && (!tool || tool === this.#state.tool);
      say(this.#boxes.find(about)?.box ?? this.general, detail);
      this.#marks.filter(about).forEach(({ mark }) => mark(pointer));
    }
  }
}

const under = (pointer, of) => pointer === of || pointer.startsWith(`${of}/`);

let boxes = 0;
const alert = () => el("p", { class: "error", role: "alert", id: `cv-problem-${++boxes}`, hidden: true });

function say(box, text) {
  if (text === "") passFocusOn(box);
  box.hidden = text === "";
  if (box.textContent !== text) box.textContent = text;
}
