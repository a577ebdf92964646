/** Two pictures in one frame with a movable border between them. */

import { element, setRatio } from "./dom.js";

/** before, after: URLs; "" as before shows `after` alone */
export const splitView = ({ before, after, beforeName, width, height }) => {
  const made = element("img", { src: after, alt: "Result", class: "split-after", width, height });
  const view = element("div", { class: "split" }, made);
  setRatio(view, [width, height]);
  if (!before) return view;
  const under = element("img", { src: before, alt: beforeName, class: "split-before" });
  const border = element("span", { class: "split-border", "aria-hidden": "true" });
  const name = (text) => element("span", { class: "tag", "aria-hidden": "true" }, text);
  const slider = element("input", {
    type: "range", min: 0, max: 100, step: 1, value: 50,
    "aria-label": `Border between ${beforeName.toLowerCase()} and result`,
  });
  const move = () => view.style.setProperty("--split", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  view.append(under, border, name(beforeName), name("Result"), slider);
  return view;
};
