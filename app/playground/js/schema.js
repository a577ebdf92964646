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
  ...["prompt", "cn_type", "cn_strength", "cn_stop", "steps", "guidance", "sampler", "scheduler"],
  ...["seed", "samples", "use_input_img_dimension", "custom_width", "custom_height"],
];
const LABELS = {
  cn_type: "Control type",
  cn_strength: "Strength",
  cn_stop: "Stop",
  cn_start: "Start",
  use_input_img_dimension: "Size of the input",
  custom_width: "Width",
  custom_height: "Height",
  image_format: "File format",
  base64: "Base64",
  webhook_url: "Webhook URL",
};
/** The picture has a part of the page of its own. */
const PICTURES = ["image", "control_image"];

const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

const fieldOf = ([name, property]) => ({
  name,
  label: LABELS[name] ?? capital(name),
  type: property.type,
  default: property.default,
  minimum: property.minimum,
  maximum: property.maximum,
  choices: property.enum,
  description: property.description ?? "",
  common: COMMON.includes(name),
});

const rank = (field) => COMMON.indexOf(field.name) + 1 || COMMON.length + 1;

/**
 * @returns {Promise<{fields: Field[], names: string[], creditsPerWorkUnit: number,
 *                    evaluations: Record<string, [number, number]>}>}
 */
export const loadSchema = async () => {
  const response = await fetch(new URL("playground/form.json", BASE));
  if (!response.ok) throw new Error(`form.json: ${response.status}`);
  const form = await response.json();
  const properties = Object.entries(form.schema.properties);
  const fields = properties
    .filter(([name, property]) => !PICTURES.includes(name) && property.type !== "array")
    .map(fieldOf);
  return {
    fields: fields.sort((one, other) => rank(one) - rank(other)),
    names: properties.map(([name]) => name),
    creditsPerWorkUnit: form.credits_per_work_unit,
    evaluations: form.evaluations,
  };
};
