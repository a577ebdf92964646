/** The finished pictures: one beside its input or map, several as a grid; download, reuse. */

import { file } from "./api.js";
import { button, byId, element, icon } from "./dom.js";
import { splitView } from "./split_view.js";
import { zoom } from "./zoom.js";

/**
 * @typedef {{blob: Blob, url: string, seed: string, name: string, width: number, height: number}}
 *     Picture url: an object URL
 */

const NAMES = { input: "Input", map: "Control map", "": "Result only" };

/** @type {string[]} object URLs of what is shown */
let urls = [];
const urlOf = (blob) => {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
};

/**
 * Loads the files of a result.
 * @param {any} result @returns {Promise<{pictures: Picture[], map: string}>}
 */
const loaded = async (result) => {
  const blobs = await Promise.all(result.images.map((image) => file(image.url)));
  const map = result.control_map ? await file(result.control_map.url).catch(() => null) : null;
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  const pictures = result.images.map((image, index) => ({
    blob: blobs[index],
    url: urlOf(blobs[index]),
    seed: image.seed,
    name: `${result.request_id.slice(0, 8)}-${image.file_name}`,
    width: image.width,
    height: image.height,
  }));
  return { pictures, map: map ? urlOf(map) : "" };
};

const action = (name, text, onclick) =>
  button("small", onclick, icon(name), text);

const facts = (result, picture) => {
  const { metrics } = result;
  const parts = [
    `${picture.width} × ${picture.height}`,
    `seed ${picture.seed}`,
    `${metrics.inference_time.toFixed(1)} s in the model`,
    `${metrics.model_evaluations} evaluations`,
    metrics.profile,
  ];
  return element("p", { class: "facts" }, parts.join(" · "));
};

const warnings = (result) =>
  (result.warnings ?? []).map(({ parameter, message }) =>
    element("p", { class: "hint" }, parameter ? `${parameter}: ${message}` : message),
  );

/** Buttons that choose what lies beside the result. @param {[string, string][]} choices */
const against = (choices, chosen, onChoose) => {
  const buttons = choices.map(([name, value]) => {
    const pressed = String(value === chosen);
    const onclick = () => onChoose(value);
    const attributes = { type: "button", class: "segment", "aria-pressed": pressed, onclick };
    return element("button", attributes, element("span", {}, name));
  });
  const attributes = { class: "segments against", role: "group", "aria-label": "Compare with" };
  return element("div", attributes, ...buttons);
};

const tile = (picture, index, open) => {
  const { url, seed, width, height } = picture;
  const image = element("img", { src: url, alt: `Result ${index + 1}`, width, height });
  const label = `Open result ${index + 1}, seed ${seed}`;
  const attributes = { type: "button", class: "tile", "aria-label": label, onclick: open };
  const caption = element("figcaption", {}, `seed ${seed}`);
  return element("figure", {}, element("button", attributes, image), caption);
};

const download = ({ url, name }) =>
  element("a", { class: "button small", href: url, download: name }, icon("download"), "Download");

/**
 * Shows a result.
 * @param {any} result the body of the API
 * @param {{input: string, onUse: (picture: Picture) => void}} options input: a URL that shows the
 *     input picture, "" if there is none
 */
export const showResult = async (result, { input, onUse }) => {
  const { pictures, map } = await loaded(result);
  const place = byId("result");
  const sources = { input, map, "": "" };
  let before = input ? "input" : map ? "map" : "";
  const showOne = (picture) => {
    const { url: after, width, height } = picture;
    const beforeName = NAMES[before];
    const view = splitView({ before: sources[before], after, beforeName, width, height });
    const choices = Object.keys(NAMES).filter((name) => !name || sources[name]);
    const choose = (name) => {
      before = name;
      showOne(picture);
    };
    const chooser = against(
      choices.map((name) => [NAMES[name], name]),
      before,
      choose,
    );
    const actions = element("div", { class: "actions" });
    if (pictures.length > 1) actions.append(action("grid", "All pictures", showAll));
    actions.append(
      action("zoom", "Zoom", () => zoom(after)),
      download(picture),
      action("input", "Use as input", () => onUse(picture)),
    );
    const row = element("div", { class: "result-row" }, chooser, actions);
    place.replaceChildren(view, row, facts(result, picture), ...warnings(result));
  };
  const showAll = () => {
    const tiles = pictures.map((picture, index) => tile(picture, index, () => showOne(picture)));
    const grid = element("div", { class: "grid", id: "grid" }, ...tiles);
    place.replaceChildren(grid, facts(result, pictures[0]), ...warnings(result));
  };
  if (pictures.length > 1) showAll();
  else showOne(pictures[0]);
};
