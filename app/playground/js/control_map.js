/** The preview of a control map: follows picture, type and size, and lies over the input. */

import { ApiError, MAP_VALUES, preprocess } from "./api.js";
import { byId, chooser, setRatio, showText } from "./dom.js";
import { controlTypes, onValues, showError, values } from "./form.js";
import { key, onKeyChange } from "./key.js";
import { capital } from "./messages.js";
import { onPicture, picture, pictureView, showView } from "./picture_input.js";

const DEBOUNCE_MS = 350;

let timer = 0;
let running = new AbortController();
/** Parameters of the last attempt, "" before one: a refused map is not asked for again. */
let tried = "";
let madeUrl = "";
/** The control whose map is shown, from 0. */
let shown = 0;

/** Values and picture of the map that is shown. own: the control's own picture, if it has one. */
const wanted = () => {
  const { controls = [], ...chosen } = values();
  const { type = chosen.cn_type, picture: own, ready } = controls[shown - 1] ?? {};
  const file = own && { kind: "file", file: own, field: ready ? "control_image" : "image" };
  return { type, own, source: file ?? picture(), chosen: { ...chosen, cn_type: type } };
};

const parametersText = () => {
  const { chosen, own, source } = wanted();
  const file = own && [own.name, own.size, own.lastModified, source.field];
  return JSON.stringify([shown, file, MAP_VALUES.map((name) => chosen[name])]);
};

/** With further controls, a choice between their maps. */
const showChoice = () => {
  const types = controlTypes();
  if (shown >= types.length) shown = 0;
  const place = byId("map-of");
  place.hidden = types.length < 2;
  if (place.dataset.types === String(types)) return;
  place.dataset.types = types;
  const names = types.map((type, index) => `${index + 1} ${type}`);
  const choose = (index) => {
    shown = index;
    schedule(0);
  };
  place.replaceChildren(chooser("Control map of", names, shown, choose));
};

const clear = () => {
  if (madeUrl) URL.revokeObjectURL(madeUrl);
  madeUrl = "";
  for (const id of ["map-overlay", "overlay-row", "map-state"]) byId(id).hidden = true;
};

const show = async ({ blob, warnings }, { type, own, chosen }) => {
  clear();
  madeUrl = URL.createObjectURL(blob);
  const bitmap = await createImageBitmap(blob);
  const overlay = byId("map-overlay");
  overlay.src = madeUrl;
  const isInput = type === "tile" && !own;
  overlay.hidden = byId("overlay-row").hidden = isInput;
  if (!own) setRatio(byId("frame"), [bitmap.width, bitmap.height]);
  if (!pictureView()) showView(isInput ? URL.createObjectURL(blob) : await viewOfUrl(chosen));
  showText(byId("map-hint"), warnings.map(({ message }) => capital(message)).join(". "));
  bitmap.close();
};

/** A picture on another host as the server sees it: its tile map is the picture itself. */
const viewOfUrl = async (chosen) => {
  const tile = { ...chosen, cn_type: "tile" };
  const { blob } = await preprocess(tile, picture(), running.signal);
  return URL.createObjectURL(blob);
};

const update = async () => {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  tried = parametersText();
  const map = wanted();
  const { chosen, own, source } = map;
  const ready = source?.field === "control_image";
  if (!source || (ready && !own)) return clear();
  byId("map-state").hidden = false;
  try {
    const finished = { blob: own, warnings: [] };
    const made = ready ? finished : await preprocess(chosen, source, signal);
    if (!signal.aborted) await show(made, map);
  } catch (error) {
    if (!signal.aborted) report(error, own);
  }
  return undefined;
};

const report = (error, own) => {
  clear();
  if (!(error instanceof ApiError) || error.status === 401) return;
  const parameter = error.status === 413 ? "image" : error.parameter;
  const place = own && parameter === "image" ? `controls[${shown}].image` : parameter;
  if (place) showError(place, error.sentence, false);
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
    clear();
    showText(byId("map-hint"), "");
    schedule(0);
  });
  onValues(() => {
    showChoice();
    if (parametersText() !== tried) schedule();
  });
  showChoice();
  onKeyChange(() => key() && schedule(0));
};
