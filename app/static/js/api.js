import * as key from "./key.js";

/**
 * @typedef {object} ApiRequest
 * @property {string} method
 * @property {string} path
 * @property {Record<string, string | number | (string | number)[]>} [query]
 * @property {object} [json]
 * @property {Record<string, Blob | string>} [parts]
 * @property {string} [accept]
 * @property {AbortSignal} [signal]
 */

export const DEAD =
  "The service does not answer. It may have been stopped, or the connection is gone. Start it again, then try again.";

/** Not Authorization, which a proxy in front of the service may use for itself. */
export const KEY_HEADER = "X-API-Key";

/** A request that was refused or not answered at all; `status` is 0 where there was no answer. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, errors?: {field: string, detail: string}[], requestId?: string}} about
   */
  constructor(message, { status = 0, errors = [], requestId = "" } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.errors = errors;
    this.requestId = requestId;
  }
}

/** What a reverse proxy has before our paths, as in "/vision"; usually nothing. */
export const PREFIX = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The path with its query, without PREFIX. @param {ApiRequest} request */
export function address({ path, query = {} }) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

/** @param {ApiRequest} request @returns {Promise<any>} the parsed answer */
export async function json(request) {
  return (await answer(request)).value;
}

/**
 * The answer, and how long the round trip took.
 * @param {ApiRequest} request
 * @returns {Promise<{value: any, headers: Headers, milliseconds: number}>}
 */
export async function answer(request) {
  const began = performance.now();
  const response = await send({ accept: "application/json", ...request });
  const value = await unlessGone(response.json());
  return { value, headers: response.headers, milliseconds: performance.now() - began };
}

/** @param {ApiRequest} request @returns {Promise<{blob: Blob, headers: Headers}>} */
export async function blob(request) {
  const response = await send(request);
  return { blob: await unlessGone(response.blob()), headers: response.headers };
}

async function send(request) {
  const { method, json: object, accept, signal } = request;
  const headers = new Headers(accept ? { Accept: accept } : {});
  if (object !== undefined) headers.set("Content-Type", "application/json");
  const body = object === undefined ? form(request.parts) : JSON.stringify(object);
  for (;;) {
    const sent = key.current();
    if (sent) headers.set(KEY_HEADER, sent);
    const response = await unlessGone(fetch(PREFIX + address(request), { method, headers, body, signal }));
    if (response.ok) return response;
    if (response.status !== 401 || !(await key.ask(sent))) throw await refusal(response);
  }
}

/** The parts as multipart/form-data, undefined without any. */
function form(parts) {
  if (!parts) return undefined;
  const data = new FormData();
  for (const [name, part] of Object.entries(parts)) data.append(name, part);
  return data;
}

async function unlessGone(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(DEAD);
  }
}

async function refusal(response) {
  const requestId = response.headers.get("x-request-id") ?? "";
  const about = { status: response.status, requestId };
  try {
    const problem = await response.json();
    return new ApiError(problem.detail, { ...about, errors: problem.errors });
  } catch {
    return new ApiError(`The service answered ${response.status} ${response.statusText}, and nothing more.`, about);
  }
}
