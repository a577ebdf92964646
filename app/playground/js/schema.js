/** The fields of the form, from the schema that the API publishes. */

import { BASE } from "./storage.js";

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {"string"|"integer"|"number"|"boolean"} type
 * @property {string|number|boolean|undefined} default
 * @property {number|undefined} minimum
 * @property {number|undefined} maximum
 * @property {string[]|undefined} choices
 * @property {string} description
 * @property {boolean} common
 */

const COMMON = [
  ...["prompt", "cn_type", "canny_low", "canny_high", "cn_strength", "cn_start", "cn_stop"],
  ...["steps", "guidance", "sampler", "scheduler", "seed", "samples"],
  ...["use_input_img_dimension", "custom_width", "custom_height"],
];
const LABELS = {
  cn_type: "Control type",
  canny_low: "Low threshold",
  canny_high: "High threshold",
  cn_strength: "Strength",
  cn_start: "Start",
  cn_stop: "Stop",
  use_input_img_dimension: "Size of the input",
  custom_width: "Width",
  custom_height: "Height",
  image_format: "File format",
  base64: "Base64",
  webhook_url: "Webhook URL",
};
/** The picture has a part of the page of its own. */
const PICTURES = ["image", "control_image"];
const TYPES = ["string", "integer", "number", "boolean"];

const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** The schema of a value that is given: behind references, without null. */
const resolved = (property, definitions) => {
  const branches = [property.anyOf, property.oneOf, property.allOf].find(Boolean) ?? [];
  const inner = property.$ref
    ? definitions[property.$ref.split("/").pop()]
    : branches.find(({ type }) => type !== "null");
  return inner ? { ...resolved(inner, definitions), ...property } : property;
};

const fieldOf = (name, property) => ({
  name,
  label: LABELS[name] ?? capital(name),
  type: [property.type].flat().find((type) => type !== "null"),
  default: property.default ?? undefined,
  minimum: property.minimum,
  maximum: property.maximum,
  choices: property.enum?.filter((choice) => choice !== null).map(String),
  description: property.description ?? "",
  common: COMMON.includes(name),
});

const rank = (field) => COMMON.indexOf(field.name) + 1 || COMMON.length + 1;

/**
 * Leaves out the pictures, and lists and objects, which no control of the form can hold.
 * @param {object} schema of a body @param {string[]} [types] of control that the server has
 * @returns {Field[]} as the form shows them
 */
export const fieldsOf = ({ properties, $defs = {} }, types) =>
  Object.entries(properties)
    .filter(([name]) => !PICTURES.includes(name))
    .map(([name, property]) => fieldOf(name, resolved(property, $defs)))
    .map((field) => (field.name === "cn_type" && types ? { ...field, choices: types } : field))
    .filter(({ type }) => TYPES.includes(type))
    .sort((one, other) => rank(one) - rank(other));

/**
 * @returns {Promise<{fields: Field[], names: string[], creditsPerWorkUnit: number,
 *                    evaluations: Record<string, [number, number]>}>}
 */
export const loadSchema = async () => {
  const response = await fetch(new URL("playground/form.json", BASE));
  if (!response.ok) throw new Error(`form.json: ${response.status}`);
  const form = await response.json();
  return {
    fields: fieldsOf(form.schema, form.control_types),
    names: Object.keys(form.schema.properties),
    creditsPerWorkUnit: form.credits_per_work_unit,
    evaluations: form.evaluations,
  };
};
