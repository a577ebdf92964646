/** The input picture: from a drop, the clipboard, a file, a camera, a URL or a sample. */

import { byId, element, setRatio, showText } from "./dom.js";
import { readPicture, writePicture } from "./storage.js";

const TEXTS = {
  none: "Drop or paste a picture here",
  url: "The server loads the picture…",
  file: "This browser cannot show the file; the server reads it.",
};

const events = new EventTarget();
/** @type {?Picture} */
let current = null;
let shownUrl = "";
/** @type {number[]|null} */
let size = null;

export const picture = () => current;

/** Width and height; null if this browser cannot read the file. @returns {number[]|null} */
export const pictureSize = () => size;

/** A URL that shows the picture here; "" for one that is on another host. */
export const pictureView = () => shownUrl;

/** The picture as a data URI, which outlives a change of the input; "" if it cannot be shown. */
export const pictureCopy = () => {
  const view = byId("input-view");
  if (!view.naturalWidth) return "";
  const canvas = element("canvas", { width: view.naturalWidth, height: view.naturalHeight });
  canvas.getContext("2d").drawImage(view, 0, 0);
  return canvas.toDataURL("image/webp", 0.9);
};

export const onPicture = (listener) => events.addEventListener("change", listener);

export const setPicture = (chosen) => {
  current = chosen;
  size = null;
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = chosen?.kind === "file" ? URL.createObjectURL(chosen.file) : "";
  byId("picture-url").value = chosen?.kind === "url" ? chosen.url : "";
  byId("picture-is-map").checked = chosen?.field === "control_image";
  showText(byId("f-image-fault"), "");
  writePicture(chosen);
  showView(shownUrl);
  events.dispatchEvent(new Event("change"));
};

/** Shows the picture itself; "" shows that there is none to show. */
export const showView = (url) => {
  const view = byId("input-view");
  byId("frame").hidden = !url;
  byId("drop").classList.toggle("filled", Boolean(url));
  byId("drop-text").textContent = TEXTS[current?.kind ?? "none"];
  if (url) view.src = url;
  else view.removeAttribute("src");
};

const take = (file) => {
  if (!file) return;
  setPicture({ kind: "file", file, name: file.name || "picture.png" });
};

const useUrl = () => {
  const url = byId("picture-url").value.trim();
  if (!url) return;
  setPicture({ kind: "url", url });
};

const loaded = () => {
  const view = byId("input-view");
  size = [view.naturalWidth, view.naturalHeight];
  setRatio(byId("frame"), size);
  events.dispatchEvent(new Event("size"));
};

/** Calls the listener once the size of the picture is known. */
export const onPictureSize = (listener) => events.addEventListener("size", listener);

const startDrop = (onFile) => {
  const drop = byId("drop");
  const over = (is) => (event) => {
    event.preventDefault();
    drop.classList.toggle("over", is);
  };
  for (const name of ["dragenter", "dragover"]) addEventListener(name, over(true));
  for (const name of ["dragleave", "dragend"]) addEventListener(name, over(false));
  addEventListener("drop", (event) => {
    over(false)(event);
    const file = event.dataTransfer.files[0];
    const url = event.dataTransfer.getData("text/uri-list").split("\n")[0];
    if (file) onFile(file);
    else if (/^https?:/.test(url)) setPicture({ kind: "url", url });
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (!file) return;
    event.preventDefault();
    onFile(file);
  });
};

const startUrl = () => {
  byId("url-open").addEventListener("click", () => {
    const row = byId("url-row");
    row.hidden = !row.hidden;
    byId("url-open").setAttribute("aria-expanded", String(!row.hidden));
    if (!row.hidden) byId("picture-url").focus();
  });
  byId("url-use").addEventListener("click", useUrl);
  byId("picture-url").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    useUrl();
  });
};

/**
 * @param {(file: File) => Promise<boolean>} [restores] takes a dropped file first; true: it did
 * @returns {Promise<void>} once the picture of the last visit is back
 */
export const startPictureInput = async (restores = async () => false) => {
  const onFile = async (file) => {
    if (!(await restores(file))) take(file);
  };
  startDrop(onFile);
  startUrl();
  for (const id of ["picture-file", "picture-camera"]) {
    byId(id).addEventListener("change", (event) => {
      onFile(event.target.files[0]);
      event.target.value = "";
    });
  }
  byId("picture-is-map").addEventListener("change", (event) => {
    if (current)
      setPicture({ ...current, field: event.target.checked ? "control_image" : "image" });
  });
  const view = byId("input-view");
  view.addEventListener("load", loaded);
  view.addEventListener(
    "error",
    () => current?.kind === "file" && view.getAttribute("src") && showView(""),
  );
  const last = await readPicture();
  if (last && !current) setPicture(last);
};
