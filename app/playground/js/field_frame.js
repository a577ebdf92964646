/** What is around a control of the form. */

import { element } from "./dom.js";

export const idOf = (field) => `f-${field.name}`;

/** What connects the input of a field with its label, help and error. */
export const named = (field) => ({
  id: idOf(field),
  name: field.name,
  ...described(field),
});

const described = (field) => ({ "aria-describedby": `${idOf(field)}-help ${idOf(field)}-fault` });

/** A control with its label, name, help, and the place of an error. group: of several inputs */
export const framed = (field, control, group = false) => {
  const id = idOf(field);
  const title = group
    ? element("legend", {}, field.label)
    : element("label", { for: id }, field.label);
  const name = element("code", {}, field.name);
  const help = element("p", { class: "help", id: `${id}-help` }, field.description ?? "");
  const fault = element("p", { class: "fault", id: `${id}-fault`, role: "alert", hidden: true });
  const attributes = { class: "field", "data-name": field.name };
  if (group) {
    const more = { ...attributes, ...described(field) };
    return element("fieldset", more, title, name, control, help, fault);
  }
  const head = element("div", { class: "field-head" }, title, name);
  return element("div", attributes, head, control, help, fault);
};
