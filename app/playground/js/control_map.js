/** The preview of the control map: follows picture, type and size, and lies over the input. */

import { ApiError, MAP_VALUES, preprocess } from "./api.js";
import { byId, setRatio, showText } from "./dom.js";
import { showError, valueOf, values } from "./form.js";
import { key, onKeyChange } from "./key.js";
import { onPicture, picture, pictureView, showView } from "./picture_input.js";

const DEBOUNCE_MS = 350;
const DARK = 12;
const PROBE = 64;
const NO_PERSON =
  "No person was found in this picture, so the pose map is empty and controls nothing. " +
  "Choose a picture of a person, or another control type.";

let timer = 0;
let running = new AbortController();
/** Parameters of the last attempt, "" before one: a refused map is not asked for again. */
let tried = "";
let madeUrl = "";
/** @type {Map<string, Blob>} maps of this picture, by their parameters */
const cache = new Map();

const parametersText = () => {
  const chosen = values();
  return JSON.stringify(MAP_VALUES.map((name) => chosen[name]));
};

/** Whether nearly all pixels are black. @param {ImageBitmap} bitmap */
const isEmpty = (bitmap) => {
  const canvas = new OffscreenCanvas(PROBE, PROBE);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, PROBE, PROBE);
  const { data } = context.getImageData(0, 0, PROBE, PROBE);
  return !data.some((value, index) => index % 4 !== 3 && value > DARK);
};

const clear = () => {
  if (madeUrl) URL.revokeObjectURL(madeUrl);
  madeUrl = "";
  byId("map-overlay").hidden = true;
  byId("overlay-row").hidden = true;
};

const show = async (blob) => {
  clear();
  madeUrl = URL.createObjectURL(blob);
  const bitmap = await createImageBitmap(blob);
  const overlay = byId("map-overlay");
  overlay.src = madeUrl;
  overlay.hidden = byId("overlay-row").hidden = valueOf("cn_type") === "tile";
  setRatio(byId("frame"), [bitmap.width, bitmap.height]);
  if (!pictureView()) showView(await viewOfUrl(blob));
  showText(byId("map-hint"), valueOf("cn_type") === "pose" && isEmpty(bitmap) ? NO_PERSON : "");
  bitmap.close();
};

/** A picture on another host as the server sees it: its tile map is the picture itself. */
const viewOfUrl = async (blob) => {
  if (valueOf("cn_type") === "tile") return URL.createObjectURL(blob);
  const chosen = { ...values(), cn_type: "tile" };
  return URL.createObjectURL(await preprocess(chosen, picture(), running.signal));
};

const update = async () => {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const text = (tried = parametersText());
  const chosen = picture();
  if (!chosen || chosen.field === "control_image") return clear();
  byId("map-state").hidden = false;
  try {
    const blob = cache.get(text) ?? (await preprocess(values(), chosen, signal));
    cache.set(text, blob);
    if (!signal.aborted) await show(blob);
  } catch (error) {
    if (!signal.aborted) report(error);
  } finally {
    if (!signal.aborted) byId("map-state").hidden = true;
  }
  return undefined;
};

const report = (error) => {
  clear();
  if (!(error instanceof ApiError) || error.status === 401) return;
  const about = error.parameter === "image" || error.status === 413;
  if (about) showText(byId("f-image-fault"), error.sentence);
  else if (error.parameter) showError(error.parameter, error.sentence, false);
  else showText(byId("map-hint"), `No control map yet. ${error.sentence}`);
  if (error.passing) timer = setTimeout(update, (error.retryAfterS ?? 5) * 1000);
};

const schedule = (delay = DEBOUNCE_MS) => {
  clearTimeout(timer);
  timer = setTimeout(update, delay);
};

export const startControlMap = () => {
  const overlay = byId("map-overlay");
  const slider = byId("overlay");
  const fade = () => (overlay.style.opacity = slider.value);
  slider.addEventListener("input", fade);
  fade();
  onPicture(() => {
    cache.clear();
    clear();
    showText(byId("map-hint"), "");
    schedule(0);
  });
  const page = byId("page");
  for (const name of ["input", "change", "valueschange"]) {
    page.addEventListener(name, () => parametersText() !== tried && schedule());
  }
  onKeyChange(() => key() && schedule(0));
};
