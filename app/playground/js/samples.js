/** The sample pictures: one click sets the picture and parameters that fit it. */

import { byId, element } from "./dom.js";
import { changeValues } from "./form.js";
import { onPicture, picture, setPicture } from "./picture_input.js";
import { BASE } from "./storage.js";

/** Of a file beside the samples. */
export const sampleUrl = (name) => new URL(`playground/samples/${name}`, BASE).href;

const use = async (sample, wanted = () => true) => {
  const file = await (await fetch(sampleUrl(sample.file))).blob();
  if (!wanted()) return;
  changeValues(sample.values);
  setPicture({ kind: "file", file, name: sample.file, sample: sample.file });
};

const button = (sample) => {
  const { prompt } = sample.values;
  const onclick = () => use(sample);
  const image = element("img", { src: sampleUrl(sample.file), alt: "", width: 96, height: 96 });
  const attributes = { type: "button", class: "sample", title: prompt, onclick };
  return element("button", attributes, image, element("span", {}, sample.title));
};

/** The samples, once their buttons are there. */
export const startSamples = async () => {
  const samples = await (await fetch(sampleUrl("samples.json"))).json();
  const buttons = samples.map(button);
  byId("samples").append(...buttons);
  const mark = () =>
    buttons.forEach((one, index) =>
      one.setAttribute("aria-pressed", String(picture()?.sample === samples[index].file)),
    );
  onPicture(mark);
  mark();
  return samples;
};

/** Unless a picture has been chosen while the sample was loading. */
export const useFirstSample = (samples) => use(samples[0], () => !picture());
