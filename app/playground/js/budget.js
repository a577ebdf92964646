/** What the key has left and what the request will cost; nothing for keys without a budget. */

import { credits } from "./api.js";
import { byId, showText } from "./dom.js";
import { creditsText, estimate } from "./estimate.js";
import { valueOf } from "./form.js";
import { key, onKeyChange } from "./key.js";
import { onPicture, onPictureSize, pictureSize } from "./picture_input.js";

/** @type {number|null} */
let balance = null;
let schema = null;

const show = () => {
  showText(byId("credits"), balance === null ? "" : `${creditsText(balance)} credits`);
  const price = balance === null ? 0 : estimate(schema, valueOf, pictureSize());
  showText(byId("estimate"), price ? `about ${creditsText(price)} credits` : "");
};

/** Asks the server for the balance; after each end of a request. */
export const updateCredits = async () => {
  balance = key() ? await credits().catch(() => null) : null;
  show();
};

/** @param {Awaited<ReturnType<typeof import("./schema.js").loadSchema>>} loaded */
export const startBudget = (loaded) => {
  schema = loaded;
  for (const name of ["input", "change", "valueschange"]) {
    byId("page").addEventListener(name, show);
  }
  onPicture(show);
  onPictureSize(show);
  onKeyChange(updateCredits);
  updateCredits();
};
