/** The control of the seed: drawn for each request, unless it is locked. */

import { element, icon } from "./dom.js";
import { described, framed, idOf } from "./field_frame.js";

const drawn = () => {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 17) * 2 ** 32 + low;
};

/** @param {import("./schema.js").Field} field @returns {import("./fields.js").Control} */
export const seed = (field) => {
  const box = element("input", {
    type: "text",
    name: "seed",
    inputmode: "numeric",
    id: idOf(field),
    placeholder: "drawn for each picture",
    "aria-describedby": described(field),
  });
  const lock = element("button", {
    type: "button",
    class: "button square",
    "aria-label": "Lock seed",
  });
  const dice = element(
    "button",
    {
      type: "button",
      class: "button square",
      "aria-label": "Random seed",
      title: "Draw a seed and keep it",
    },
    icon("dice"),
  );
  const setLocked = (locked) => {
    lock.setAttribute("aria-pressed", String(locked));
    lock.replaceChildren(icon(locked ? "lock" : "unlock"));
    lock.title = locked ? "The next picture has this seed" : "Each picture has a new seed";
  };
  const locked = () => lock.getAttribute("aria-pressed") === "true";
  const changed = () => box.dispatchEvent(new Event("change", { bubbles: true }));
  const draw = () => {
    box.value = String(drawn());
    setLocked(true);
    changed();
  };
  box.addEventListener("input", () => setLocked(box.value.trim() !== ""));
  lock.addEventListener("click", () => {
    if (!locked() && !box.value.trim()) return draw();
    setLocked(!locked());
    return changed();
  });
  dice.addEventListener("click", draw);
  setLocked(false);
  const read = () => {
    const digits = box.value.trim();
    if (!locked() || !digits) return undefined;
    const number = Number(digits);
    return Number.isSafeInteger(number) ? number : digits;
  };
  const write = (value) => {
    const given = value !== undefined && String(value) !== String(field.default);
    box.value = given ? String(value) : "";
    setLocked(given);
  };
  const show = (value) => {
    if (!locked()) box.value = String(value);
  };
  return {
    node: framed(field, element("div", { class: "seed" }, box, dice, lock)),
    read,
    write,
    show,
  };
};
