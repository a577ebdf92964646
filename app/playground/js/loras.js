/** The LoRAs of a request: files of the server, picked by name, each with its scale. */

import { loraFiles } from "./api.js";
import { button, byId, element } from "./dom.js";
import { named } from "./field_frame.js";
import { controlFor } from "./fields.js";
import { key, onKeyChange } from "./key.js";
import { listControl } from "./list_control.js";
import { announce } from "./progress.js";

const STEP = 0.05;

/** In front, because CLIP reads only the first 77 tokens. */
const addToPrompt = (words) => {
  const prompt = byId("f-prompt");
  if (!prompt.value.includes(words)) {
    prompt.value = [words, prompt.value].filter(Boolean).join(", ");
    prompt.dispatchEvent(new Event("input", { bubbles: true }));
  }
  announce(`The prompt has ${words}`, true);
};

const trigger = (words) => {
  const add = button("small", () => addToPrompt(words), `+ ${words}`);
  add.ariaLabel = `Add ${words} to the prompt`;
  return add;
};

/** @returns {Control} of a list of {name, scale}; unused: while there is nothing to pick */
export const loras = (field) => {
  /** @type {Lora[]|undefined} undefined: not known */
  let files;
  const scale = field.items.find(({ name }) => name === "scale");

  /** The sentence below the name of a LoRA. */
  const about = (file) => {
    if (!file) return files ? "Unknown: this server has no LoRA of this name." : "";
    return file.error ? `Refused: ${file.error}` : file.base_model;
  };
  const row = (value, index) => {
    const file = files?.find(({ name }) => name === value.name);
    const own = { name: `${field.name}[${index}]`, label: `Scale of ${value.name}`, step: STEP };
    const control = controlFor({ ...scale, ...own, description: about(file) });
    control.write(value.scale);
    const node = element(
      ...["div", { role: "group", "aria-label": `LoRA ${value.name}`, class: "fields" }],
      control.node,
      element(
        ...["div", { class: "actions" }, ...(file?.trigger_words ?? []).map(trigger)],
        button("small quiet", () => list.remove(index), `Remove ${value.name}`),
      ),
    );
    return { node, read: () => ({ name: value.name, scale: control.read() }) };
  };

  const pick = element("select", { ...named(field), "aria-label": "LoRA" });
  const add = button("small", () => list.add({ name: pick.value }), "Add a LoRA");
  const showFiles = () => {
    const used = list.read()?.map(({ name }) => name) ?? [];
    const option = ({ name, error }) => {
      const disabled = Boolean(error) || used.includes(name);
      return element("option", { value: name, disabled }, error ? `${name}: ${error}` : name);
    };
    pick.replaceChildren(...(files ?? []).map(option));
    add.disabled = !pick.value;
  };
  const adder = element("div", { class: "row" }, pick, add);
  const description = "Styles of this server; they act together.";
  const list = listControl({ ...field, description }, field.maximum, row, adder, showFiles);
  const load = async () => {
    files = key() ? await loraFiles().catch(() => undefined) : undefined;
    list.change(list.read());
  };
  onKeyChange(load);
  load();
  return { ...list, unused: () => !files?.length && !list.read() };
};
