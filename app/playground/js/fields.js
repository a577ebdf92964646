/** One control of the form for each kind of field: its elements, its value. */

import { element, radios } from "./dom.js";
import { framed, named } from "./field_frame.js";
import { loras } from "./loras.js";
import { moreControls } from "./more_controls.js";
import { seed } from "./seed.js";

/**
 * @typedef {object} Control
 * @property {HTMLElement} node
 * @property {() => (string|number|boolean|undefined)} read undefined: the default of the API
 * @property {(value: string|number|boolean|undefined) => void} write
 * @property {() => boolean} [unused] whether it is hidden, because it has nothing to show
 */

const FEW = 4;
/** Letters of choices that stand side by side, in two rows at most. */
const SIDE_BY_SIDE = 40;
const numberOf = (text) => {
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? undefined : number;
};

const range = (field) => {
  const wide = field.maximum - field.minimum > 5;
  const fine = field.step ?? (field.type === "integer" ? 1 : wide ? 0.1 : 0.01);
  const step = field.name.startsWith("custom_") ? 16 : fine;
  const bounds = { min: field.minimum, max: field.maximum };
  const label = `${field.label}, slider`;
  const slider = element("input", { type: "range", ...bounds, step, "aria-label": label });
  const own = { type: "number", ...bounds, step: fine, inputmode: "decimal" };
  const number = element("input", { ...named(field), ...own });
  slider.addEventListener("input", () => (number.value = slider.value));
  number.addEventListener("input", () => (slider.value = number.value || String(field.default)));
  const write = (value) => (number.value = slider.value = String(value ?? field.default));
  const node = framed(field, element("div", { class: "range" }, slider, number));
  return { node, read: () => numberOf(number.value), write };
};

const segments = (field, choices) => {
  const { node, read, write: choose } = radios(field.name, choices);
  const write = (value) => choose(String(value ?? field.default));
  return { node: framed(field, node, true), read: typed(field, read), write };
};

/** A text as a value of the field's type. */
const typed = (field, read) =>
  ["integer", "number"].includes(field.type) ? () => numberOf(read() ?? "") : read;

const select = (field) => {
  const own =
    field.default === undefined ? [element("option", { value: "" }, "the server's default")] : [];
  const options = field.choices.map((choice) => element("option", { value: choice }, choice));
  const list = element("select", named(field), ...own, ...options);
  const write = (value) => (list.value = String(value ?? field.default ?? ""));
  const read = () => list.value || undefined;
  return { node: framed(field, list), read: typed(field, read), write };
};

const toggle = (field) => {
  const box = element("input", { type: "checkbox", ...named(field) });
  const write = (value) => (box.checked = Boolean(value ?? field.default));
  const node = framed(field, box);
  node.classList.add("toggle");
  return { node, read: () => box.checked, write };
};

const text = (field) => {
  const long = field.name === "prompt";
  const own = long ? { rows: 3, required: true } : { type: "text", spellcheck: "false" };
  const box = element(long ? "textarea" : "input", { ...named(field), ...own });
  const write = (value) => (box.value = String(value ?? field.default ?? ""));
  const read = () => box.value || undefined;
  return { node: framed(field, box), read: typed(field, read), write };
};

export const controlFor = (field) => {
  if (field.name === "seed") return seed(field);
  if (field.name === "loras") return loras(field);
  if (field.items) return moreControls(field);
  if (field.type === "boolean") return toggle(field);
  const count = field.type === "integer" ? field.maximum - field.minimum + 1 : 0;
  const numbers = Array.from({ length: count <= FEW ? count : 0 });
  const choices = field.choices ?? numbers.map((_, index) => String(field.minimum + index));
  const fits = choices.join("").length <= SIDE_BY_SIDE && field.default !== undefined;
  if (choices.length && fits) return segments(field, choices);
  if (choices.length) return select({ ...field, choices });
  if (field.minimum === undefined || field.maximum === undefined) return text(field);
  return range(field);
};
