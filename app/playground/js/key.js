/**
 * The API key: from the address once (`#key=...`), then from this browser's storage.
 * Knows no dialog: who shows one registers with onKeyNeeded.
 */

import { readStored, writeStored } from "./storage.js";

const NAME = "key";
const needed = new Set();
const changed = new Set();
let current = readStored(NAME) ?? "";

/** @returns {string} "" if there is none */
export const key = () => current;

export const setKey = (text) => {
  current = text.trim();
  writeStored(NAME, current || null);
  changed.forEach((callback) => callback(current));
};

/** @param {(reason: string) => void} callback reason: a sentence, "" if there is no key yet */
export const onKeyNeeded = (callback) => needed.add(callback);

export const onKeyChange = (callback) => changed.add(callback);

export const needKey = (reason) => needed.forEach((callback) => callback(reason));

/** Takes a key out of the address, and removes it there, so that no bookmark or copy has it. */
const takeFromAddress = () => {
  const handedOver = new URLSearchParams(location.hash.slice(1)).get("key");
  if (handedOver === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (handedOver) setKey(handedOver);
};

takeFromAddress();
addEventListener("hashchange", takeFromAddress);
