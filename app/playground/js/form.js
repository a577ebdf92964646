/** The form: a control for each parameter, the values, errors beside the fields, a stored draft. */

import { byId, showText } from "./dom.js";
import { controlFor } from "./fields.js";
import { readJson, readPicture, writePicture, writeStored } from "./storage.js";
import { OF_FIRST } from "./wire.js";

/** Where the page differs from the API: a person watches, so previews are on. */
const START = { preview: true };
const DRAFT = "values";
const MORE = "controls";

/** @type {Map<string, Control>} */
const controls = new Map();
const defaults = new Map();
/** Own pictures of further controls, as they are stored. */
let storedPictures = [];

/** Calls the listener after each change of a value. */
export const onValues = (listener) => {
  for (const name of ["input", "change", "valueschange"])
    byId("page").addEventListener(name, listener);
};

/** Builds the controls, with the values of the last visit. */
export const buildForm = async (fields) => {
  for (const field of fields) {
    const control = controlFor(field);
    controls.set(field.name, control);
    defaults.set(field.name, field.default);
  }
  const nodes = (common) =>
    fields.filter((field) => field.common === common).map((field) => controls.get(field.name).node);
  byId("common").append(...nodes(true));
  byId("prompt-place").append(controls.get("prompt").node);
  byId("rest").append(...nodes(false));
  const draft = readJson(DRAFT) ?? START;
  const pictures = draft[MORE] ? await readPicture(MORE) : [];
  draft[MORE]?.forEach((more, index) => (more.picture &&= pictures?.[index]));
  onValues(saveDraft);
  setValues(draft);
  byId("page").addEventListener("input", (event) => clearFault(event.target));
};

const saveDraft = () => {
  for (const [name, control] of controls) control.node.hidden = isUnused(name);
  writeStored(DRAFT, JSON.stringify(values()));
  const pictures = furtherControls().map(({ picture }) => picture);
  const same = pictures.every((picture, index) => picture === storedPictures[index]);
  if (!same || pictures.length !== storedPictures.length) writePicture(pictures, MORE);
  storedPictures = pictures;
};

/** Whether a parameter does nothing with the others as they are. */
const isUnused = (name) =>
  controls.get(name).unused?.() ||
  (name.startsWith("canny_") && !controlTypes().includes("canny")) ||
  (name.startsWith("custom_") && valueOf("use_input_img_dimension"));

/** What differs from the defaults of the API. @returns {Values} */
export const values = () => {
  const chosen = {};
  for (const [name, control] of controls) {
    if (isUnused(name)) continue;
    const value = control.read();
    const always = name === "prompt" || name === "cn_type";
    if (value !== undefined && (always || value !== defaults.get(name))) chosen[name] = value;
  }
  return chosen;
};

/** The default of the API. */
export const defaultOf = (name) => defaults.get(name);

/** A value or its default. */
export const valueOf = (name) => controls.get(name).read() ?? defaults.get(name);

const furtherControls = () => controls.get(MORE)?.read() ?? [];

/** Of all controls. @returns {string[]} */
export const controlTypes = () => [
  valueOf("cn_type"),
  ...furtherControls().map(({ type }) => type),
];

/** Sets all parameters; those that are absent get their defaults. */
export const setValues = (chosen) => {
  for (const [name, control] of controls) control.write(chosen[name]);
  clearFaults();
  byId("page").dispatchEvent(new Event("valueschange"));
};

/** Sets these parameters and leaves the others. */
export const changeValues = (chosen) => setValues({ ...values(), ...chosen });

/** Sets the parameters of a file, which says nothing about previews, and keeps the pictures. */
export const restoreValues = (found) => {
  const current = furtherControls();
  const more = found[MORE]?.map((control, index) => ({ ...current[index], ...control }));
  setValues({ ...START, ...found, [MORE]: more });
};

export const resetValues = () => setValues({ ...START, prompt: valueOf("prompt") });

/** Shows the drawn seed, so that it can be locked. */
export const showSeed = (text) => controls.get("seed").show(text);

const inputsOf = (parameter) =>
  byId("page").querySelectorAll(`[data-name="${parameter}"] :is(input, select, textarea)`);

/** The field of a parameter; controls[0] is the control of the form, a LoRA has one field. */
const fieldOf = (parameter) =>
  parameter
    .replace(/^controls\[0\]\.(\w+)$/, (_, own) => OF_FIRST[own] ?? own)
    .replace(/^(loras\[\d+\])\.\w+$/, "$1")
    .replace(/control_image$/, "image");

const placeOf = (name) => byId(`f-${name}-fault`);

/** Shows a warning beside its field, if it has one, after others. */
export const showWarning = ({ parameter, message }) => {
  const place = placeOf(fieldOf(parameter));
  if (!place) return;
  showText(place, place.textContent ? `${place.textContent}; ${message}` : `Warning: ${message}`);
  place.classList.add("warning");
};

/**
 * Shows an error beside its field. focuses: whether the field gets the focus.
 * @returns {boolean} false: no such field
 */
export const showError = (name, sentence, focuses = true) => {
  const parameter = fieldOf(name);
  const place = placeOf(parameter);
  if (!place) return false;
  showText(place, sentence);
  place.classList.remove("warning");
  inputsOf(parameter).forEach((input) => input.setAttribute("aria-invalid", "true"));
  const folded = place.closest("details");
  if (folded) folded.open = true;
  const custom = place.closest(".field");
  if (custom) custom.hidden = false;
  if (!focuses) return true; // the user may be typing there
  (byId(`f-${parameter}`) ?? inputsOf(parameter)[0])?.focus();
  place.scrollIntoView({ block: "center" });
  return true;
};

export const clearFaults = () => {
  for (const fault of document.querySelectorAll("#page .fault")) showText(fault, "");
  for (const input of document.querySelectorAll("[aria-invalid]"))
    input.removeAttribute("aria-invalid");
};

const clearFault = (input) => {
  const field = input.closest("[data-name]");
  if (!field) return;
  showText(field.querySelector(".fault"), "");
  field.querySelectorAll("[aria-invalid]").forEach((one) => one.removeAttribute("aria-invalid"));
  if (!document.querySelector("#page [aria-invalid]")) showText(byId("problem"), "");
};
