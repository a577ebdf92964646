/** The dialog that asks for the API key. */

import { byId, showText } from "./dom.js";
import { key, onKeyChange, onKeyNeeded, setKey } from "./key.js";

const open = (reason) => {
  const dialog = byId("key-dialog");
  showText(byId("key-reason"), reason);
  byId("key-forget").hidden = !key();
  if (dialog.open) return; // a key is being typed
  byId("key-input").value = key();
  dialog.showModal();
  byId("key-input").select();
};

const showState = () => {
  byId("key-state").textContent = key() ? "API key" : "Enter API key";
  byId("key-open").classList.toggle("missing", !key());
};

export const startKeyDialog = () => {
  const dialog = byId("key-dialog");
  byId("key-open").addEventListener("click", () => open(""));
  byId("key-later").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => {
    setKey("");
    dialog.close();
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close();
    setKey(byId("key-input").value);
  });
  onKeyNeeded(open);
  onKeyChange(showState);
  showState();
};
