/**
 * The requests of this browser: a list in IndexedDB, in memory where the browser refuses to store.
 *
 * @typedef {Object} Entry
 * @property {string} id of the request
 * @property {number} createdAt milliseconds since the epoch, as Date.now()
 * @property {Object} values of the form
 * @property {?Blob} thumbnail see thumbnail.js
 * @property {string} status QUEUED, PROCESSING, COMPLETED or FAILED
 * @property {string[]} pictures links of the result
 * @property {number} expiresAt milliseconds since the epoch; later the server has nothing of it
 *
 * @typedef {Entry & {expired: boolean}} Listed
 */

import { BASE } from "./storage.js";

export const MAX_ENTRIES = 200;
const DATABASE = `playground:${BASE.pathname}:history`;
const STORE = "requests";

/** @returns {Promise<HistoryStore>} never rejects */
export const openHistory = async () => {
  let database = null;
  try {
    database = await openDatabase();
  } catch {
    // Private mode, a full disk, or storage that the user forbids: the history is in memory.
  }
  const store = new HistoryStore(database);
  await store.list();
  return store;
};

const openDatabase = () =>
  new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onerror = () => reject(request.error);
    request.onblocked = reject;
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });

/** Dispatches "change" after each change. No method rejects: what fails to be stored stays here. */
class HistoryStore extends EventTarget {
  #database;
  #entries = new Map(); // by id: the last known content, and all there is without a database

  constructor(database) {
    super();
    this.#database = database;
  }

  /** A sentence for the user while the history is lost with the page, else "". */
  get note() {
    return this.#database
      ? ""
      : "This browser does not store the history: it is lost when this page is closed.";
  }

  /** @param {Entry} entry replaces one of the same id; the oldest above MAX_ENTRIES are removed */
  async add(entry) {
    this.#entries.set(entry.id, entry);
    await this.#write((store) => store.put(entry));
    for (const { id } of (await this.list()).slice(MAX_ENTRIES)) await this.#delete(id);
    this.#changed();
  }

  /** Does nothing if there is no such entry, for example because it was removed meanwhile. */
  async update(id, changes) {
    const entry = this.#entries.get(id);
    if (entry) this.#entries.set(id, { ...entry, ...changes, id });
    await this.#write((store) => {
      const request = store.get(id);
      request.onsuccess = () => request.result && store.put({ ...request.result, ...changes, id });
    });
    this.#changed();
  }

  /** @returns {Promise<Listed[]>} newest first */
  async list() {
    const stored = await this.#attempt("readonly", (store) => store.getAll());
    if (stored) this.#entries = new Map(stored.map((entry) => [entry.id, entry]));
    const now = Date.now();
    return [...this.#entries.values()]
      .map((entry) => ({ ...entry, expired: entry.expiresAt <= now }))
      .sort((one, other) => other.createdAt - one.createdAt);
  }

  async remove(id) {
    await this.#delete(id);
    this.#changed();
  }

  async clear() {
    this.#entries.clear();
    await this.#write((store) => store.clear());
    this.#changed();
  }

  async #delete(id) {
    this.#entries.delete(id);
    await this.#write((store) => store.delete(id));
  }

  #write(action) {
    return this.#attempt("readwrite", action);
  }

  /** The result of an action on the object store; a database that fails is not used again. */
  async #attempt(mode, action) {
    if (!this.#database) return undefined;
    try {
      const transaction = this.#database.transaction(STORE, mode);
      const ended = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      const request = action(transaction.objectStore(STORE));
      await ended;
      return request?.result;
    } catch {
      this.#database = null;
      return undefined;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
