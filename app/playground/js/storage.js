/**
 * What this browser keeps: texts in localStorage, the input picture in IndexedDB.
 * Where storage is blocked, the page works without it.
 */

/** The address of the server, also below a path. */
export const BASE = new URL("../../", import.meta.url);

const PREFIX = `playground:${BASE.pathname}:`;

export const readStored = (name) => {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is blocked
  }
};

/** null removes it. */
export const writeStored = (name, text) => {
  try {
    if (text === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, text);
  } catch {
    // storage is blocked or full
  }
};

/** null if it is missing or not JSON. */
export const readJson = (name) => {
  try {
    return JSON.parse(readStored(name) ?? "null");
  } catch {
    return null;
  }
};

/** The result of a request to IndexedDB. */
export const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** A database of this page, with one table in it; rejects where the browser has none. */
export const openDatabase = (name, table, keys) => {
  const opening = indexedDB.open(PREFIX + name, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(table, keys);
  return answer(opening);
};

const pictures = async (mode) =>
  (await openDatabase("draft", "pictures")).transaction("pictures", mode).objectStore("pictures");

/** The picture, or pictures, of the last visit; null without one. */
export const readPicture = async (name = "input") => {
  try {
    return (await answer((await pictures("readonly")).get(name))) ?? null;
  } catch {
    return null; // no IndexedDB here
  }
};

export const writePicture = async (picture, name = "input") => {
  try {
    await answer((await pictures("readwrite")).put(picture, name));
  } catch {
    // no IndexedDB here, or no room
  }
};
