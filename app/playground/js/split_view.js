/** Two pictures in one frame with a movable border between them. */

import { element, setRatio } from "./dom.js";

/**
 * @param {{before: string, after: string, beforeName: string, width: number,
 *          height: number}} pictures
 *     before: "" shows `after` alone
 * @returns {HTMLElement}
 */
export const splitView = ({ before, after, beforeName, width, height }) => {
  const made = element("img", { src: after, alt: "Result", class: "split-after", width, height });
  const view = element("div", { class: "split" }, made);
  setRatio(view, [width, height]);
  if (!before) return view;
  const under = element("img", { src: before, alt: beforeName, class: "split-before" });
  const border = element("span", { class: "split-border", "aria-hidden": "true" });
  const names = [beforeName, "Result"].map((name, index) =>
    element(
      "span",
      { class: `split-name ${index ? "right" : "left"}`, "aria-hidden": "true" },
      name,
    ),
  );
  const slider = element("input", {
    type: "range", min: 0, max: 100, step: 1, value: 50,
    "aria-label": `Border between ${beforeName.toLowerCase()} and result`,
  });
  const move = () => view.style.setProperty("--split", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  view.append(under, border, ...names, slider);
  return view;
};
