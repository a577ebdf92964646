/** What the key has left and what the request will cost; nothing for keys without a budget. */

import { credits } from "./api.js";
import { byId, showText } from "./dom.js";
import { creditsText, estimate } from "./estimate.js";
import { defaultOf, onValues, values } from "./form.js";
import { key, onKeyChange } from "./key.js";
import { onPicture, onPictureSize, pictureSize } from "./picture_input.js";

/** @type {number|null} */
let balance = null;
let schema = null;

/**
 * What requests will cost together; null for a key without a budget.
 * @param {Values[]} all @returns {{cost: number, balance: number}|null}
 */
export const priceOf = (all) => {
  if (balance === null) return null;
  const costs = all.map((chosen) =>
    estimate(schema, (name) => chosen[name] ?? defaultOf(name), pictureSize()),
  );
  return { cost: costs.reduce((sum, cost) => sum + cost, 0), balance };
};

const show = () => {
  const price = priceOf([values()]);
  showText(byId("credits"), price ? `${creditsText(balance)} credits` : "");
  showText(byId("estimate"), price ? `about ${creditsText(price.cost)} credits` : "");
  byId("page").dispatchEvent(new Event("pricechange"));
};

/** Asks the server for the balance; after each end of a request. */
export const updateCredits = async () => {
  balance = key() ? await credits().catch(() => null) : null;
  show();
};

/** @param {Schema} loaded */
export const startBudget = (loaded) => {
  schema = loaded;
  onValues(show);
  onPicture(show);
  onPictureSize(show);
  onKeyChange(updateCredits);
  updateCredits();
};
