/** Controls beside the one of the form: each with its type, strength, window and picture. */

import { button, element, showText } from "./dom.js";
import { framed, idOf } from "./field_frame.js";
import { controlFor } from "./fields.js";
import { listControl } from "./list_control.js";

/** The picture of a control: a file, or that of the form. place: controls[1] */
const ownPicture = (place, { picture, ready }) => {
  const name = `${place}.image`;
  let file = picture instanceof Blob ? picture : null; // a stored draft has no files
  const title = element("p", { class: "help" });
  const show = () => showText(title, file?.name ?? "The picture of the form is used.");
  const onchange = (event) => {
    file = event.target.files[0] ?? file;
    show();
  };
  const id = idOf({ name });
  const input = element("input", { type: "file", id, accept: "image/*", onchange });
  const box = element("input", { type: "checkbox" });
  box.checked = Boolean(ready);
  const check = element("label", { class: "check" }, box, "It is already a control map");
  show();
  const node = framed({ name, label: "Own picture" }, element("div", {}, input, title, check));
  return { node, read: () => (file ? { picture: file, ready: box.checked } : {}) };
};

/** field: its `items` are the fields of one control. @returns {Control} see listControl */
export const moreControls = (field) => {
  const row = (value, index) => {
    const place = `${field.name}[${index + 1}]`;
    const parts = field.items.map((part) => {
      const own = { name: `${place}.${part.name}`, default: part.default ?? part.choices?.[0] };
      const control = controlFor({ ...part, ...own });
      control.write(value[part.name]);
      return [part.name, control, part];
    });
    const own = ownPicture(place, value);
    const node = element(
      ...["div", { role: "group", "aria-label": `Control ${index + 2}`, class: "fields" }],
      ...parts.map(([, control]) => control.node),
      own.node,
      button("small quiet", () => list.remove(index), `Remove control ${index + 2}`),
    );
    const plain = () =>
      parts.map(([name, control, part]) => [name, control.read() ?? part.default]);
    return { node, read: () => ({ ...Object.fromEntries(plain()), ...own.read() }) };
  };
  const add = button("small", () => list.add({}), "Add a control");
  const description = "They act together with the control above.";
  const list = listControl({ ...field, description }, field.maximum - 1, row, add);
  return list;
};
