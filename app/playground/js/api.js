/** Calls of the API with the key of this browser. Every failure is an ApiError with a sentence. */

import { key, needKey } from "./key.js";
import { faultsIn, sentenceOf } from "./messages.js";
import { BASE } from "./storage.js";
import { wireOf } from "./wire.js";

/** @typedef {{kind: "file"|"url", file?: Blob, name?: string, url?: string, field?: string}}
 *   Picture */
/** @typedef {Record<string, string|number|boolean|object[]>} Values */

/** What a control map depends on, besides its picture. */
export const MAP_VALUES = [
  ...["cn_type", "canny_low", "canny_high"],
  ...["use_input_img_dimension", "custom_width", "custom_height"],
];
let parameters = new Set(["image", "control_image", "prompt"]);

/** Takes the names of all parameters, to find them in error texts. */
export const setParameters = (names) => {
  parameters = new Set(names);
};

/** See faultsIn. */
export const faultsOf = (text) => faultsIn(text, parameters);

export class ApiError extends Error {
  /** @param {number} status 0: no response */
  constructor(status, text, retryAfterS = null) {
    super(text);
    this.status = status;
    this.retryAfterS = retryAfterS;
    this.faults = status === 400 || status === 422 ? faultsOf(text) : [];
    this.parameter = this.faults[0]?.parameter ?? null;
    this.sentence = this.faults[0]?.sentence ?? sentenceOf(status, text, retryAfterS);
  }

  /** Whether the same call may succeed later. */
  get passing() {
    return [0, 429, 502, 503].includes(this.status);
  }
}

/**
 * @param {string} path relative to the server
 * @param {{form?: Blob, signal?: AbortSignal, accept?: string,
 *          headers?: Record<string, string>}} [options]
 * @returns {Promise<Response>} a 2xx response
 */
export const request = async (method, path, options = {}) => {
  const { form: body, signal, accept = "application/json" } = options;
  if (!key()) {
    needKey("");
    throw new ApiError(401, "");
  }
  const sent = key();
  const headers = { ...options.headers, accept, "x-api-key": sent };
  const response = await call(path, { method, headers, body, signal, cache: "no-store" });
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && sent === key()) needKey(error.sentence);
  throw error;
};

const call = async (path, options) => {
  try {
    return await fetch(new URL(path.replace(/^\//, ""), BASE), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "");
  }
};

const errorOf = async (response) => {
  const body = await response.json().catch(() => ({}));
  const seconds = Number.parseInt(response.headers.get("retry-after"), 10) || null;
  return new ApiError(response.status, String(body.error ?? ""), seconds);
};

/** Also where crypto.randomUUID is missing: on pages that came by plain HTTP. */
export const randomKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/**
 * The form in bytes. FormData turns each line break of the prompt into CR LF, so the same seed
 * gives another picture than with JSON.
 * @returns {Blob} its type has the boundary
 */
const bodyOf = (given, picture) => {
  const boundary = randomKey();
  const head = `--${boundary}\r\ncontent-disposition: form-data; name=`;
  const part = (name, content, more = "") => [`${head}"${name}"${more}\r\n\r\n`, content, "\r\n"];
  const { values, uploads } = wireOf(given, picture);
  const files = uploads.flatMap(({ name, file }) => part(name, file, '; filename="picture"'));
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  const fields = Object.entries(values).flatMap(([name, value]) => part(name, text(value)));
  const type = `multipart/form-data; boundary=${boundary}`;
  return new Blob([...fields, ...files, `--${boundary}--\r\n`], { type });
};

/** @param {Picture} picture @returns {Promise<{request_id: string}>} */
export const submit = async (values, picture, { idempotencyKey, signal }) => {
  const form = bodyOf(values, picture);
  const headers = { "idempotency-key": idempotencyKey };
  return (await request("POST", "v2/flux-controlnet", { form, headers, signal })).json();
};

/** The control map. @returns {Promise<{blob: Blob, warnings: {message: string}[]}>} */
export const preprocess = async (values, picture, signal) => {
  const chosen = Object.entries(values).filter(([name]) => MAP_VALUES.includes(name));
  const form = bodyOf(Object.fromEntries(chosen), { ...picture, field: "image" });
  const path = "v1/flux-controlnet/preprocess";
  const response = await request("POST", path, { form, signal, accept: "image/png" });
  const warnings = JSON.parse(response.headers.get("x-warnings") ?? "[]");
  return { blob: await response.blob(), warnings };
};

/** The status or result body; that of a FAILED request too. */
const ended = async (path) => {
  const response = await call(path, { headers: { "x-api-key": key() }, cache: "no-store" });
  if (response.ok || response.status === 422) return response.json();
  throw await errorOf(response);
};

export const status = (id) => ended(`v2/requests/${id}/status`);

export const result = (id) => ended(`v2/requests/${id}`);

export const cancel = (id) => request("DELETE", `v2/requests/${id}`);

/**
 * A finished picture or control map. Its link may name another origin than the page's (PUBLIC_URL).
 * @returns {Promise<Blob>}
 */
export const file = async (url) => {
  const { pathname, search } = new URL(url, BASE);
  const path = pathname.slice(pathname.lastIndexOf("/files/") + 1);
  const response = await call(path + search);
  if (!response.ok) throw await errorOf(response);
  return response.blob();
};

/**
 * The LoRAs of the server; error: why a request with the file fails, or null.
 * @typedef {{name: string, trigger_words: string[], base_model: string, error: ?string}} Lora
 * @returns {Promise<Lora[]>}
 */
export const loraFiles = async () =>
  (await (await request("GET", "inference-model-information/list")).json()).loras;

/** @returns {Promise<number|null>} null for a key without a budget */
export const credits = async () => {
  const account = await (await request("GET", "v1/get-user-credits")).json();
  return account.unlimited ? null : account.credits;
};
