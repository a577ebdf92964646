/** The finished pictures: one beside its input or map, several as a grid; download, reuse. */

import { file } from "./api.js";
import { button, byId, chooser, element } from "./dom.js";
import { parametersOf } from "./metadata.js";
import { splitView } from "./split_view.js";
import { zoom } from "./zoom.js";

/**
 * @typedef {{blob: Blob, url: string, seed: string, name: string, width: number, height: number}}
 *     Picture url: an object URL
 */

/** @type {string[]} object URLs of what is shown */
const urls = [];
const urlOf = (blob) => {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
};

/** @returns {Promise<Picture>} without url. seed: of the file if the image has a link alone */
const pictureOf = async ({ url, seed }, id) => {
  const blob = await file(url);
  const { width, height } = await createImageBitmap(blob);
  const name = `${id.slice(0, 8)}-${new URL(url).pathname.split("/").pop()}`;
  return { blob, name, width, height, seed: seed ?? (await parametersOf(blob))?.seed ?? "unknown" };
};

/** The files of a result. maps: URLs, one for each control */
const loaded = async (result) => {
  const made = await Promise.all(result.images.map((image) => pictureOf(image, result.request_id)));
  const links = (result.control_maps ?? [result.control_map]).filter(Boolean);
  const maps = await Promise.all(links.map(({ url }) => file(url).catch(() => null)));
  urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  const pictures = made.map((picture) => ({ ...picture, url: urlOf(picture.blob) }));
  return { pictures, maps: maps.map((map) => map && urlOf(map)) };
};

const facts = ({ metrics }, picture) => {
  const parts = [`${picture.width} × ${picture.height}`, `seed ${picture.seed}`];
  if (metrics) {
    parts.push(
      `${metrics.inference_time.toFixed(1)} s in the model`,
      `${metrics.model_evaluations} evaluations`,
      metrics.profile,
    );
  }
  return element("p", { class: "help facts" }, parts.join(" · "));
};

const warnings = (result) =>
  (result.warnings ?? []).map(({ parameter, message }) =>
    element("p", { class: "hint" }, parameter ? `${parameter}: ${message}` : message),
  );

const tile = (picture, index, open) => {
  const { url, seed, width, height } = picture;
  const image = element("img", { src: url, alt: `Result ${index + 1}`, width, height });
  const label = `Open result ${index + 1}, seed ${seed}`;
  const attributes = { type: "button", class: "tile", "aria-label": label, onclick: open };
  const caption = element("figcaption", { class: "help" }, `seed ${seed}`);
  return element("figure", {}, element("button", attributes, image), caption);
};

/**
 * @param {any} result the body of the API
 * @param {{input: string, onUse: (picture: Picture) => void}} options input: a URL, or ""
 */
export const showResult = async (result, { input, onUse }) => {
  const { pictures, maps } = await loaded(result);
  const place = byId("result");
  const name = (index) => (maps.length > 1 ? `Control map ${index + 1}` : "Control map");
  const sources = [["Input", input], ...maps.map((map, index) => [name(index), map])];
  const choices = [...sources.filter(([, url]) => url), ["Result only", ""]];
  let chosen = 0;
  const showOne = (picture) => {
    const { url: after, width, height } = picture;
    const view = element("div");
    const choose = (index) => {
      chosen = index;
      const [beforeName, before] = choices[index];
      view.replaceChildren(splitView({ before, after, beforeName, width, height }));
    };
    choose(chosen);
    const names = choices.map(([text]) => text);
    const against = chooser("Compare with", names, chosen, choose);
    const actions = element("div", { class: "actions" });
    if (pictures.length > 1) actions.append(button("small", showAll, "All pictures"));
    actions.append(
      button("small", () => zoom(after), "Zoom"),
      element("a", { class: "button small", href: after, download: picture.name }, "Download"),
      button("small", () => onUse(picture), "Use as input"),
    );
    const row = element("div", { class: "result-row" }, against, actions);
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
