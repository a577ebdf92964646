/** One control of the form for each kind of field: its elements, its value. */

import { element } from "./dom.js";
import { described, framed, idOf } from "./field_frame.js";
import { seed } from "./seed.js";

/** @typedef {import("./schema.js").Field} Field */
/**
 * @typedef {object} Control
 * @property {HTMLElement} node
 * @property {() => (string|number|boolean|undefined)} read undefined: the default of the API
 * @property {(value: string|number|boolean|undefined) => void} write
 */

const FEW = 4;
/** Letters of choices that stand side by side, in two rows at most. */
const SIDE_BY_SIDE = 40;
const numberOf = (text) => {
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? undefined : number;
};

/** @param {Field} field @returns {Control} */
const range = (field) => {
  const fine = field.type === "integer" ? 1 : field.maximum - field.minimum > 5 ? 0.1 : 0.01;
  const step = field.name.startsWith("custom_") ? 16 : fine;
  const bounds = { min: field.minimum, max: field.maximum };
  const slider = element("input", {
    type: "range",
    ...bounds,
    step,
    "aria-label": `${field.label}, slider`,
  });
  const number = element("input", {
    type: "number",
    id: idOf(field),
    name: field.name,
    ...bounds,
    step: fine,
    inputmode: "decimal",
    "aria-describedby": described(field),
  });
  slider.addEventListener("input", () => (number.value = slider.value));
  number.addEventListener("input", () => (slider.value = number.value || String(field.default)));
  const write = (value) => (number.value = slider.value = String(value ?? field.default));
  write(field.default);
  const node = framed(field, element("div", { class: "range" }, slider, number));
  return { node, read: () => numberOf(number.value), write };
};

/** @param {Field} field @param {string[]} choices @returns {Control} */
const segments = (field, choices) => {
  const inputs = choices.map((value) =>
    element("input", { type: "radio", name: field.name, value, id: `${idOf(field)}-${value}` }),
  );
  const labels = choices.map((choice, index) =>
    element("label", { class: "segment" }, inputs[index], element("span", {}, choice)),
  );
  const read = () => inputs.find((input) => input.checked)?.value;
  const write = (value) =>
    inputs.forEach((input) => (input.checked = input.value === String(value ?? field.default)));
  write(field.default);
  const node = framed(field, element("div", { class: "segments" }, ...labels), true);
  return { node, read: typed(field, read), write };
};

/** A text as a value of the field's type. */
const typed = (field, read) =>
  ["integer", "number"].includes(field.type) ? () => numberOf(read() ?? "") : read;

/** @param {Field} field @returns {Control} */
const select = (field) => {
  const own =
    field.default === undefined ? [element("option", { value: "" }, "the server's default")] : [];
  const options = field.choices.map((choice) => element("option", { value: choice }, choice));
  const list = element(
    "select",
    { id: idOf(field), name: field.name, "aria-describedby": described(field) },
    ...own,
    ...options,
  );
  const write = (value) => (list.value = String(value ?? field.default ?? ""));
  write(field.default);
  const read = () => list.value || undefined;
  return { node: framed(field, list), read: typed(field, read), write };
};

/** @param {Field} field @returns {Control} */
const toggle = (field) => {
  const id = idOf(field);
  const box = element("input", {
    type: "checkbox",
    id,
    name: field.name,
    class: "switch",
    "aria-describedby": described(field),
  });
  const write = (value) => (box.checked = Boolean(value ?? field.default));
  write(field.default);
  const node = framed(field, box);
  node.classList.add("toggle");
  return { node, read: () => box.checked, write };
};

/** @param {Field} field @returns {Control} */
const text = (field) => {
  const long = field.name === "prompt";
  const box = element(long ? "textarea" : "input", {
    id: idOf(field),
    name: field.name,
    "aria-describedby": described(field),
    ...(long ? { rows: 3, required: true } : { type: "text", spellcheck: "false" }),
  });
  const write = (value) => (box.value = String(value ?? field.default ?? ""));
  write();
  const read = () => box.value || undefined;
  return { node: framed(field, box), read: typed(field, read), write };
};

/** @param {Field} field @returns {Control} */
export const controlFor = (field) => {
  if (field.name === "seed") return seed(field);
  if (field.type === "boolean") return toggle(field);
  const whole = field.type === "integer" && field.minimum !== undefined;
  const count = whole && field.maximum - field.minimum < FEW ? field.maximum - field.minimum + 1 : 0;
  const few = Array.from({ length: count }, (_, index) => String(field.minimum + index));
  const choices = field.choices ?? few;
  const fits = choices.join("").length <= SIDE_BY_SIDE && field.default !== undefined;
  if (choices.length && fits) return segments(field, choices);
  if (choices.length) return select({ ...field, choices });
  if (field.minimum === undefined || field.maximum === undefined) return text(field);
  return range(field);
};
