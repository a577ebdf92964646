/**
 * What this browser keeps: texts in localStorage, the input picture in IndexedDB.
 * Where storage is blocked, the page works without it.
 */

/** The address of the server, also below a path. */
export const BASE = new URL("../../", import.meta.url);

const PREFIX = `playground:${BASE.pathname}:`;
const DATABASE = `${PREFIX}draft`;
const TABLE = "pictures";

/** @param {string} name @returns {string|null} */
export const readStored = (name) => {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is blocked
  }
};

/** @param {string} name @param {string|null} text null removes it */
export const writeStored = (name, text) => {
  try {
    if (text === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, text);
  } catch {
    // storage is blocked or full
  }
};

/** @param {string} name @returns {any} null if it is missing or not JSON */
export const readJson = (name) => {
  try {
    return JSON.parse(readStored(name) ?? "null");
  } catch {
    return null;
  }
};

const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const table = async (mode) => {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
  const database = await answer(opening);
  return database.transaction(TABLE, mode).objectStore(TABLE);
};

/** @returns {Promise<object|null>} the picture of the last visit */
export const readPicture = async () => {
  try {
    return (await answer((await table("readonly")).get("input"))) ?? null;
  } catch {
    return null; // no IndexedDB here
  }
};

/** @param {object|null} picture */
export const writePicture = async (picture) => {
  try {
    await answer((await table("readwrite")).put(picture, "input"));
  } catch {
    // no IndexedDB here, or no room
  }
};
