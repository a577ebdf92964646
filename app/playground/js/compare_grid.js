/** The grid of a comparison: a table with strengths down, stops across, a state in each cell. */

import { element as make } from "./dom.js";
import { progressOf } from "./messages.js";

/** Object URLs of the pictures in the grid. */
const urls = [];
const TEXTS = { waiting: "waiting", cancelled: "cancelled", stopped: "not sent" };

/**
 * Replaces the content of the element. onOpen(cell, url): a click on a picture
 * @returns {(cell: Cell) => void} shows the cell as it is now
 */
export const renderComparison = (element, cells, { onOpen }) => {
  urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  const boxes = new Map(cells.map((cell) => [cell, make("td")]));
  const columns = cells.filter(({ row }) => row === 0);
  const head = columns.map(({ stop }) => make("th", { scope: "col" }, `stop ${stop}`));
  const rows = cells.filter(({ column }) => column === 0).map(({ row, strength }) =>
    make(
      ...["tr", {}, make("th", { scope: "row" }, `strength ${strength}`)],
      ...cells.filter((cell) => cell.row === row).map((cell) => boxes.get(cell)),
    ),
  );
  const table = make(
    ...["table", { class: "compare-grid", "aria-label": "Comparison" }],
    make("thead", {}, make("tr", {}, make("td"), ...head)),
    make("tbody", {}, ...rows),
  );
  element.replaceChildren(table);
  const update = (cell) => boxes.get(cell).replaceChildren(...content(cell, onOpen));
  cells.forEach(update);
  return update;
};

/** What a cell shows. @returns {Node[]} */
const content = (cell, onOpen) => {
  const name = `strength ${cell.strength}, stop ${cell.stop}`;
  if (cell.state === "done") {
    const url = URL.createObjectURL(cell.picture);
    urls.push(url);
    const onclick = () => onOpen(cell, url);
    const attributes = { type: "button", class: "tile", onclick };
    return [make("button", attributes, make("img", { src: url, alt: name }))];
  }
  if (cell.state === "failed") return [make("span", { class: "fault" }, cell.error)];
  if (cell.state === "running") return running(cell, name);
  return [make("span", { class: "help compare-state" }, TEXTS[cell.state])];
};

const running = ({ job }, name) => {
  const { step, steps, preview } = job;
  return [
    ...(preview ? [make("img", { src: preview, alt: "" })] : []),
    make("progress", { max: steps || 1, value: steps ? step : null, "aria-label": name }),
    make("span", { class: "help compare-state" }, progressOf(job)),
  ];
};
