/** The control of the seed: drawn for each request, unless it is locked. */

import { button, element, icon } from "./dom.js";
import { framed, named } from "./field_frame.js";

/** Below 2**48, so that a number of JavaScript holds it. */
export const drawSeed = () => {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 16) * 2 ** 32 + low;
};

export const seed = (field) => {
  const own = { type: "text", inputmode: "numeric", placeholder: "drawn for each picture" };
  const box = element("input", { ...named(field), ...own });
  const setLocked = (locked) => {
    lock.setAttribute("aria-pressed", String(locked));
    lock.replaceChildren(icon(locked ? "lock" : "unlock"));
    lock.title = locked ? "The next picture has this seed" : "Each picture has a new seed";
  };
  const locked = () => lock.getAttribute("aria-pressed") === "true";
  const changed = () => box.dispatchEvent(new Event("change", { bubbles: true }));
  const draw = () => {
    box.value = String(drawSeed());
    setLocked(true);
    changed();
  };
  const turn = () => {
    if (!locked() && !box.value.trim()) return draw();
    setLocked(!locked());
    return changed();
  };
  const lock = button("square", turn);
  lock.ariaLabel = "Lock seed";
  const dice = button("square", draw, icon("dice"));
  dice.ariaLabel = "Random seed";
  dice.title = "Draw a seed and keep it";
  box.addEventListener("input", () => setLocked(box.value.trim() !== ""));
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
  const node = framed(field, element("div", { class: "row" }, box, dice, lock));
  return { node, read, write, show };
};
