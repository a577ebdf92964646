/** The dialog that shows a picture as large as the window, or pixel by pixel. */

import { byId } from "./dom.js";

export const zoom = (url) => {
  byId("zoom-image").src = url;
  byId("zoom").classList.remove("actual");
  byId("zoom").showModal();
};

const turn = () => {
  const actual = byId("zoom").classList.toggle("actual");
  byId("zoom-size").textContent = actual ? "Fit the window" : "Actual size";
};

export const startZoom = () => {
  byId("zoom-close").addEventListener("click", () => byId("zoom").close());
  byId("zoom-size").addEventListener("click", turn);
  byId("zoom-image").addEventListener("click", turn);
};
