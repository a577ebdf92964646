/** The form: a control for each parameter, the values, errors beside the fields, a stored draft. */

import { byId, showText } from "./dom.js";
import { controlFor } from "./fields.js";
import { readJson, writeStored } from "./storage.js";
import { OF_FIRST } from "./wire.js";

/** Where the page differs from the API: a person watches, so previews are on. */
const START = { preview: true };
const DRAFT = "values";
/** Parameters that do nothing unless others have these values. */
const NEEDS = {
  custom_width: ["use_input_img_dimension", false],
  custom_height: ["use_input_img_dimension", false],
  canny_low: ["cn_type", "canny"],
  canny_high: ["cn_type", "canny"],
};

/** @type {Map<string, Control>} */
const controls = new Map();
const defaults = new Map();

/** Builds the controls. @param {Field[]} fields */
export const buildForm = (fields) => {
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
  setValues(readJson(DRAFT) ?? START);
  for (const name of ["input", "change"]) byId("page").addEventListener(name, saveDraft);
  byId("page").addEventListener("input", (event) => clearFault(event.target));
};

const saveDraft = () => {
  for (const [name, control] of controls) control.node.hidden = isUnused(name);
  writeStored(DRAFT, JSON.stringify(values()));
};

const isUnused = (name) => {
  const [other, needed] = NEEDS[name] ?? [];
  return other !== undefined && valueOf(other) !== needed;
};

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

/** Sets all parameters; those that are absent get their defaults. */
export const setValues = (chosen) => {
  for (const [name, control] of controls) control.write(chosen[name]);
  clearFaults();
  saveDraft();
  byId("page").dispatchEvent(new Event("valueschange"));
};

/** Sets these parameters and leaves the others. */
export const changeValues = (chosen) => setValues({ ...values(), ...chosen });

/** Sets the parameters of a file, which says nothing about previews. */
export const restoreValues = (found) => setValues({ ...START, ...found });

export const resetValues = () => setValues({ ...START, prompt: valueOf("prompt") });

/** Shows the drawn seed, so that it can be locked. @param {string} text */
export const showSeed = (text) => controls.get("seed").show(text);

const inputsOf = (parameter) =>
  byId("page").querySelectorAll(`[data-name="${parameter}"] :is(input, select, textarea)`);

/**
 * Shows an error beside its field. focuses: whether the field gets the focus.
 * @returns {boolean} false: no such field
 */
export const showError = (parameter, sentence, focuses = true) => {
  const [, first] = /^controls\[0\]\.(\w+)$/.exec(parameter) ?? [];
  const own = OF_FIRST[first] ?? first;
  if (own) return showError(own, sentence, focuses);
  const place = byId(`f-${parameter.replace(/control_image$/, "image")}-fault`);
  if (!place) return false;
  showText(place, sentence);
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
