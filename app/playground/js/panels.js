/** Wires what stands below the result: comparison, code to copy, history. */

import { file, result as loadResult } from "./api.js";
import { priceOf, updateCredits } from "./budget.js";
import { startCompare } from "./compare_panel.js";
import { button, byId, showText } from "./dom.js";
import { onValues, restoreValues, setValues, values } from "./form.js";
import { startHistory } from "./history_keeper.js";
import { Job } from "./job.js";
import { parametersOf } from "./metadata.js";
import { onPicture, picture, setPicture } from "./picture_input.js";
import { announce } from "./progress.js";
import { sampleUrl } from "./samples.js";
import { startSnippets } from "./snippets_panel.js";
import { BASE } from "./storage.js";
import { formOf } from "./wire.js";
import { zoom } from "./zoom.js";

/**
 * Restores the parameters of a produced picture; the input stays.
 * @param {File} given @returns {Promise<boolean>} whether it carries parameters
 */
export const restore = async (given) => {
  const found = await parametersOf(given);
  if (!found) return false;
  restoreValues(formOf(found));
  if (!picture()) return false; // then it is the input too
  const hint = byId("map-hint");
  const onclick = () => setPicture({ kind: "file", file: given, name: given.name });
  const use = button("small", onclick, "Use it as input");
  showText(hint, "The parameters of this picture are back; the input has not changed. ");
  hint.append(use);
  announce("The parameters are restored", true);
  return true;
};

/** What a snippet needs: no one watches it, so it asks for no previews. */
const call = (fields) => () => {
  const { preview: _preview, ...chosen } = values();
  const chosenPicture = picture();
  const sample = chosenPicture?.sample;
  const href = sample && sampleUrl(sample);
  return {
    origin: BASE.href,
    values: chosen,
    picture: chosenPicture && { ...chosenPicture, href },
    defaults: Object.fromEntries(fields.map((field) => [field.name, field.default])),
  };
};

/**
 * @param {Object} page watch(job), showFinished(result), showProblem(sentence)
 * @returns {Promise<(job: Job) => void>} keeps a job in the history
 */
export const startPanels = async (fields, page) => {
  const refresh = startSnippets(byId("snippets"), call(fields));
  onValues(refresh);
  onPicture(refresh);

  const open = async (entry) => {
    setValues(entry.values);
    if (entry.expired || entry.status !== "COMPLETED") {
      const reason = entry.expired ? "Its pictures have expired" : "It has no pictures";
      return page.showProblem(`${reason}; its parameters are back in the form.`);
    }
    try {
      return page.showFinished(await loadResult(entry.id));
    } catch (error) {
      if (error.status !== 404) return page.showProblem(error.sentence ?? String(error));
      // The pictures may outlive their request (OUTPUT_TTL_S).
      const images = entry.pictures.map((url) => ({ url }));
      return page.showFinished({ request_id: entry.id, images });
    }
  };
  const resume = (entry) => page.watch(Job.resume(entry.id, entry.values));
  const keep = await startHistory(byId("history"), { onOpen: open, onResume: resume });

  const showPrice = startCompare(byId("compare"), {
    ...{ values, picture, priceOf, updateCredits },
    loadPicture: file,
    startJob: (chosen, chosenPicture) => {
      const job = Job.start(chosen, chosenPicture);
      keep(job);
      return job;
    },
    onOpen: (_cell, url) => zoom(url),
  });
  byId("page").addEventListener("pricechange", showPrice);
  return keep;
};
