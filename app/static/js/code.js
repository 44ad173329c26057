import { KEY_HEADER, PREFIX, address } from "./api.js";
import { el, choices } from "./dom.js";
import { current as currentKey } from "./key.js";

/**
 * The same request in three languages, to be pasted and to work: shown, and copied with a button.
 * @param {any} app
 * @param {HTMLElement} root  where the code of the view that was used last is shown
 * @returns {(place: HTMLElement, getRequest: () => any) => void} puts the buttons of a view into `place`
 */
export function codes(app, root) {
  /** @type {(() => any)[]} */
  const sources = [];
  let shown = 0;
  let language = "curl";
  let offered = "";
  const views = choices({
    legend: "Request",
    name: "code-request",
    class: "segments",
    choose: (index) => show(Number(index), language),
  });
  const languages = choices({
    legend: "Language",
    name: "code-language",
    class: "segments",
    choose: (name) => show(shown, name),
  });
  const text = el("pre", { class: "code mono", tabindex: 0, role: "region", "aria-label": "The code" });
  const needs = el("p", { class: "small" }, "\u00a0");
  languages.fill(
    Object.keys(LANGUAGES).map((name) => ({ value: name, content: [name] })),
    language,
  );
  root.append(
    el("div", { class: "row" }, views.root, languages.root),
    text,
    needs,
    el(
      "div",
      { class: "row" },
      ...copyButtons(
        [
          ["Copy the code", () => text.textContent],
          ["Copy the link", app.link.address],
        ],
        "button",
      ),
    ),
  );

  function show(index, name) {
    [shown, language] = [index, name];
    const paths = sources.map((source) => source().path);
    if (paths.join() === offered) views.check(shown);
    else
      views.fill(
        paths.map((path, i) => ({ value: i, content: [path] })),
        shown,
      );
    offered = paths.join();
    languages.check(language);
    const request = sources[shown]();
    const file = fileOf(request, app.picture.current);
    const words = file.missing
      ? "Choose a picture first."
      : LANGUAGES[language](request, file, location.origin + PREFIX);
    if (text.textContent !== words) text.textContent = words; // what is selected stays so
    needs.textContent = needed(file, language);
  }

  function copyButtons(entries, className) {
    const said = el("span", { class: "small", role: "status" });
    let timer = 0;
    const copy = async (words) => {
      clearTimeout(timer);
      said.textContent = "";
      try {
        await navigator.clipboard.writeText(words);
        said.textContent = `Copied.${words.includes("#") && isOwn(app.picture.current) ? OWN : ""}`;
      } catch {
        said.textContent = "This browser lets pages copy over HTTPS and from localhost only.";
      }
      timer = setTimeout(() => (said.textContent = ""), 8000);
    };
    return [
      ...entries.map(([name, words]) =>
        el("button", { type: "button", class: className, click: () => copy(words()) }, name),
      ),
      said,
    ];
  }

  app.link.subscribe(() => show(shown, language));

  return (place, source) => {
    const index = sources.push(source) - 1;
    const code = (name) => () => {
      show(index, name);
      return text.textContent;
    };
    const entries = [...Object.keys(LANGUAGES).map((name) => [name, code(name)]), ["link", app.link.address]];
    const buttons = copyButtons(entries, "button button--quiet button--small");
    place.append(
      el(
        "div",
        { class: "row copies", role: "group", "aria-label": "Copy this request" },
        el("span", { class: "small" }, "Copy as"),
        ...buttons,
      ),
    );
  };
}

const OWN = " The link carries your picture as the small square that the network receives.";
const isOwn = (picture) => picture && !picture.sample;

/**
 * The picture that a request sends; `missing` if none has been chosen yet.
 * @returns {{name?: string, sample?: string, missing?: boolean}}
 */
function fileOf({ parts }, picture) {
  if (!parts) return {};
  if (!parts.image) return { missing: true };
  return { name: parts.image.name, sample: parts.image === picture?.blob ? picture.sample : undefined };
}

/** @param {{name?: string, sample?: string}} file @param {string} language */
function needed({ name, sample }, language) {
  const own = name && !sample;
  const what = {
    curl: own ? "" : "Needs nothing but curl.",
    Python: "Needs Python with httpx.",
    JavaScript:
      own || currentKey() ? "Needs Node 20 or newer." : "Runs in Node 20 or newer, or in this page’s console.",
  }[language];
  const key = currentKey() ? ` Expects your API key in ${KEY_VARIABLE}.` : "";
  return (own ? `Expects ${name} in the folder it runs in. ${what}` : what) + key;
}

/** The environment variable of the API key, where the service needs one: the code never shows the key itself. */
const KEY_VARIABLE = "CONVOSCOPE_API_KEY";

/** What comes back is a file rather than text. */
const outputOf = ({ accept }) => (accept === "image/png" ? "output.png" : null);

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(request, file, origin) {
  const words = [`curl -s ${quoted(origin + address(request))}`];
  const output = outputOf(request);
  if (currentKey()) words.push(`-H "${KEY_HEADER}: $${KEY_VARIABLE}"`);
  if (output) words.push(`-H 'Accept: ${request.accept}'`, `-o ${output}`);
  if (request.json) words.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(request.json))}`);
  if (file.name) words.push(`-F ${quoted(`image=@"${file.name.replaceAll(/["\\]/g, "\\$&")}"`)}`);
  if (request.parts?.options) words.push(`--form-string ${quoted(`options=${request.parts.options}`)}`);
  const first = file.sample ? `curl -s -o ${quoted(file.name)} ${quoted(origin + file.sample)}\n` : "";
  return first + words.join(" \\\n  ");
}

function python(request, file, origin) {
  const text = JSON.stringify;
  const output = outputOf(request);
  const lines = currentKey() ? ["import os", "", "import httpx", ""] : ["import httpx", ""];
  if (file.name)
    lines.push(
      file.sample
        ? `picture = httpx.get(${text(origin + file.sample)}).content`
        : `picture = open(${text(file.name)}, "rb").read()`,
    );
  lines.push("answer = httpx.request(", `    ${text(request.method)},`, `    ${text(origin + address(request))},`);
  const headers = [
    ...(currentKey() ? [`${text(KEY_HEADER)}: os.environ[${text(KEY_VARIABLE)}]`] : []),
    ...(output ? [`"Accept": ${text(request.accept)}`] : []),
  ];
  if (headers.length) lines.push(`    headers={${headers.join(", ")}},`);
  if (request.json) lines.push(`    json=${literal(request.json)},`);
  if (file.name) lines.push(`    files={"image": (${text(file.name)}, picture)},`);
  if (request.parts?.options) lines.push(`    data={"options": ${text(request.parts.options)}},`);
  lines.push("    timeout=60,", ")", "answer.raise_for_status()");
  lines.push(output ? `open(${text(output)}, "wb").write(answer.content)` : "print(answer.json())");
  return lines.join("\n");
}

/** A value of JSON as a literal of Python. */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, part]) => `${JSON.stringify(name)}: ${literal(part)}`)
    .join(", ")}}`;
}

function javascript(request, file, origin) {
  const text = (value) => JSON.stringify(value);
  const output = outputOf(request);
  const lines = [];
  const local = file.name && !file.sample;
  if (local) lines.push(`import { readFile } from "node:fs/promises";`, "");
  if (file.name) {
    lines.push("const form = new FormData();");
    const bytes = local
      ? `new Blob([await readFile(${text(file.name)})])`
      : `await (await fetch(${text(origin + file.sample)})).blob()`;
    lines.push(`form.append("image", ${bytes}, ${text(file.name)});`);
    if (request.parts.options) lines.push(`form.append("options", ${text(request.parts.options)});`);
  }
  lines.push(`const answer = await fetch(${text(origin + address(request))}, {`, `  method: ${text(request.method)},`);
  const headers = [
    ...(currentKey() ? [`${text(KEY_HEADER)}: process.env.${KEY_VARIABLE}`] : []),
    ...(output ? [`"Accept":${text(request.accept)}`] : []),
    ...(request.json ? [`"Content-Type":"application/json"`] : []),
  ];
  if (headers.length) lines.push(`  headers: {${headers.join(",")}},`);
  if (request.json) lines.push(`  body: JSON.stringify(${text(request.json)}),`);
  if (file.name) lines.push("  body: form,");
  lines.push("});", "if (!answer.ok) throw new Error(await answer.text());");
  lines.push(output ? "console.log(await answer.blob());" : "console.log(await answer.json());");
  return lines.join("\n");
}

const LANGUAGES = { curl, Python: python, JavaScript: javascript };
