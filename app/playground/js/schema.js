/** The fields of the form, from the schema that the API publishes. */

import { BASE } from "./storage.js";

/**
 * @typedef {{name: string, label: string, type: string, description: string, default: any,
 *   choices?: string[], minimum?: number, maximum?: number, items?: Field[], common: boolean}}
 *   Field common: not folded. items: fields of an element of a list.
 */

const COMMON = [
  ...["prompt", "cn_type", "canny_low", "canny_high", "cn_strength", "cn_start", "cn_stop"],
  ...["controls", "loras"],
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
  controls: "More controls",
  loras: "LoRAs",
  use_input_img_dimension: "Size of the input",
  custom_width: "Width",
  custom_height: "Height",
  image_format: "File format",
  webhook_url: "Webhook URL",
};
/** The picture has a part of the page of its own. */
const PICTURES = ["image", "control_image"];
const TYPES = ["string", "integer", "number", "boolean"];
/** The lists that the form has. */
const LISTS = ["controls", "loras"];
const CONTROL_TYPES = ["cn_type", "type"];

const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

const fieldOf = (name, property, types) => ({
  name,
  label: LABELS[name] ?? capital(name),
  type: property.type,
  default: property.default ?? undefined,
  minimum: property.minimum,
  maximum: property.maximum ?? property.maxItems,
  choices: CONTROL_TYPES.includes(name) && types ? types : property.enum?.map(String),
  items: LISTS.includes(name) ? fieldsOf(property.items, types) : undefined,
  description: property.description ?? "",
  common: COMMON.includes(name),
});

const rank = (field) => COMMON.indexOf(field.name) + 1 || COMMON.length + 1;

/**
 * Leaves out the pictures, and objects, and lists but LISTS: no control of the form holds them.
 * types: of control that the server has. @returns {Field[]} in the order of the form
 */
export const fieldsOf = ({ properties }, types) =>
  Object.entries(properties)
    .filter(([name]) => !PICTURES.includes(name))
    .map(([name, property]) => fieldOf(name, property, types))
    .filter(({ type, items }) => TYPES.includes(type) || items)
    .sort((one, other) => rank(one) - rank(other));

/**
 * @typedef {{fields: Field[], names: string[], creditsPerWorkUnit: number, maxPixels: number,
 *   controlShare: number, evaluations: Record<string, [number, number]>}} Schema
 *   controlShare: work of a further control, divided by that of the rest
 */

/** @returns {Promise<Schema>} */
export const loadSchema = async () => {
  const response = await fetch(new URL("playground/form.json", BASE));
  if (!response.ok) throw new Error(`form.json: ${response.status}`);
  const form = await response.json();
  return {
    fields: fieldsOf(form.schema, form.control_types),
    names: Object.keys(form.schema.properties),
    creditsPerWorkUnit: form.credits_per_work_unit,
    controlShare: form.control_share,
    maxPixels: form.max_pixels,
    evaluations: form.evaluations,
  };
};
