/**
 * The requests of this browser: a list in IndexedDB, in memory where the browser refuses to store.
 *
 * @typedef {{id: string, createdAt: number, values: Values, thumbnail: ?Blob, status: string,
 *   pictures: string[], expiresAt: number}} Entry
 *   createdAt, expiresAt: milliseconds since the epoch. pictures: links, which end at expiresAt.
 */

import { answer, openDatabase } from "./storage.js";

export const MAX_ENTRIES = 200;
const STORE = "requests";

/** @returns {Promise<HistoryStore>} never rejects */
export const openHistory = async () => {
  try {
    const database = await openDatabase("history", STORE, { keyPath: "id" });
    const transaction = database.transaction(STORE, "readonly");
    return new HistoryStore(database, await answer(transaction.objectStore(STORE).getAll()));
  } catch {
    return new HistoryStore(null, []); // private mode, a full disk, or forbidden by the user
  }
};

/** Dispatches "change" after each change. No method rejects: what fails to be stored stays here. */
class HistoryStore extends EventTarget {
  #database;
  #entries; // by id; read once, so another tab's entries appear after a reload

  constructor(database, entries) {
    super();
    this.#database = database;
    this.#entries = new Map(entries.map((entry) => [entry.id, entry]));
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
    for (const { id } of this.list().slice(MAX_ENTRIES)) await this.remove(id);
    this.#changed();
  }

  /** Does nothing if the entry was removed meanwhile. */
  async update(id, changes) {
    if (!this.#entries.has(id)) return;
    const entry = { ...this.#entries.get(id), ...changes, id };
    this.#entries.set(id, entry);
    await this.#write((store) => store.put(entry));
    this.#changed();
  }

  /** Newest first; each with `expired`. @returns {Entry[]} */
  list() {
    const now = Date.now();
    return [...this.#entries.values()]
      .map((entry) => ({ ...entry, expired: entry.expiresAt <= now }))
      .sort((one, other) => other.createdAt - one.createdAt);
  }

  async remove(id) {
    this.#entries.delete(id);
    await this.#write((store) => store.delete(id));
    this.#changed();
  }

  async clear() {
    this.#entries.clear();
    await this.#write((store) => store.clear());
    this.#changed();
  }

  /** Changes the object store in one transaction; a database that fails is not used again. */
  async #write(action) {
    if (!this.#database) return;
    try {
      const transaction = this.#database.transaction(STORE, "readwrite");
      action(transaction.objectStore(STORE));
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
    } catch {
      this.#database = null;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
