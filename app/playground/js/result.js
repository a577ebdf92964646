/** The finished pictures: one with a before/after border, several as a grid; zoom, download, reuse. */

import { file } from "./api.js";
import { byId, element, icon } from "./dom.js";
import { splitView } from "./split_view.js";
import { zoom } from "./zoom.js";

/**
 * @typedef {object} Picture
 * @property {Blob} blob
 * @property {string} url an object URL
 * @property {string} seed
 * @property {string} name
 * @property {number} width
 * @property {number} height
 */

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
  element("button", { type: "button", class: "button small", onclick }, icon(name), text);

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

const against = (choices, chosen, onChoose) =>
  element(
    ...["div", { class: "segments against", role: "group", "aria-label": "Compare with" }],
    ...choices.map(([name, value]) =>
      element(
        ...["button", { type: "button", class: "segment", "aria-pressed": String(value === chosen) }],
        element("span", {}, name),
      ),
    ).map((button, index) => {
      button.addEventListener("click", () => onChoose(choices[index][1]));
      return button;
    }),
  );

/**
 * Shows a result.
 * @param {any} result the body of the API
 * @param {{input: string, onUse: (picture: Picture) => void}} options input: a URL that shows the
 *     input picture, "" if there is none
 * @returns {Promise<Picture[]>}
 */
export const showResult = async (result, { input, onUse }) => {
  const { pictures, map } = await loaded(result);
  const place = byId("result");
  let before = input ? "input" : map ? "map" : "";
  const one = (picture, several) => {
    const sources = { input, map, "": "" };
    const names = { input: "Input", map: "Control map", "": "" };
    const { width, height } = picture;
    const view = { before: sources[before], after: picture.url, beforeName: names[before], width, height };
    const choices = [["Input", "input"], ["Control map", "map"], ["Result only", ""]];
    const choose = (value) => {
      before = value;
      one(picture, several);
    };
    const download = element("a", { class: "button small", href: picture.url, download: picture.name }, icon("download"), "Download");
    const row = element(
      ...["div", { class: "result-row" }],
      against(choices.filter(([, value]) => !value || sources[value]), before, choose),
      element(
        ...["div", { class: "actions" }],
        ...(several ? [action("grid", "All pictures", grid)] : []),
        action("zoom", "Zoom", () => zoom(picture.url)),
        download,
        action("input", "Use as input", () => onUse(picture)),
      ),
    );
    place.replaceChildren(splitView(view), row, facts(result, picture));
  };
  const grid = () => {
    const tiles = pictures.map((picture, index) => {
      const { url, seed, width, height } = picture;
      const image = element("img", { src: url, alt: `Result ${index + 1}`, width, height });
      const label = `Open picture ${index + 1}, seed ${seed}`;
      const open = element("button", { type: "button", class: "tile", "aria-label": label, onclick: () => one(picture, true) }, image);
      return element("figure", {}, open, element("figcaption", {}, `seed ${seed}`));
    });
    place.replaceChildren(element("div", { class: "grid", id: "grid" }, ...tiles), facts(result, pictures[0]));
  };
  if (pictures.length > 1) grid();
  else one(pictures[0], false);
  place.hidden = false;
  return pictures;
};
