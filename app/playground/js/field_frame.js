/** What is around a control of the form. */

import { element } from "./dom.js";

/** @typedef {import("./schema.js").Field} Field */

/** @param {Field} field */
export const idOf = (field) => `f-${field.name}`;

/** The value of aria-describedby. @param {Field} field */
export const described = (field) => `${idOf(field)}-help ${idOf(field)}-fault`;

/**
 * A control with its label, parameter name, help, and the place of an error.
 * @param {Field} field @param {HTMLElement} control @param {boolean} [group] of several inputs
 */
export const framed = (field, control, group = false) => {
  const id = idOf(field);
  const title = group
    ? element("legend", {}, field.label)
    : element("label", { for: id }, field.label);
  const head = element("div", { class: "field-head" }, title, element("code", {}, field.name));
  const help = element("p", { class: "help", id: `${id}-help` }, field.description);
  const fault = element("p", { class: "fault", id: `${id}-fault`, role: "alert", hidden: true });
  if (!group)
    return element("div", { class: "field", "data-name": field.name }, head, control, help, fault);
  const attributes = {
    class: "field",
    "data-name": field.name,
    "aria-describedby": described(field),
  };
  const name = element("code", {}, field.name);
  return element("fieldset", attributes, title, name, control, help, fault);
};
