/** The card of the result: which of its views is there, and the failure of a request. */

import { byId, showText } from "./dom.js";
import { showError, showWarning } from "./form.js";
import { setPicture } from "./picture_input.js";
import { announce } from "./progress.js";
import { showResult } from "./result.js";

const NARROW = matchMedia("(max-width: 959px)");
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** view: empty, progress or result */
export const showView = (view) => {
  for (const id of ["empty", "progress", "result"]) byId(id).hidden = id !== view;
};

/** What was there before the request. */
export const showLast = () => showView(byId("result").children.length ? "result" : "empty");

export const setRunning = (running) => {
  byId("run").disabled = running;
  byId("run").textContent = running ? "Generating…" : "Generate";
};

/** On phones, where the result is below the button. */
export const scrollToStage = () => {
  if (!NARROW.matches) return;
  byId("stage").scrollIntoView({ behavior: CALM.matches ? "auto" : "smooth", block: "start" });
};

export const clearProblem = () => showText(byId("problem"), "");

/** Beside the fields it names, else above the result; an error replaces warnings of its field. */
export const showFailure = (sentence, faults = [], warnings = []) => {
  warnings.forEach(showWarning);
  const shown = faults.filter((fault) => showError(fault.parameter, fault.sentence));
  const text = shown.length ? "The request was not accepted; see the marked fields." : sentence;
  showText(byId("problem"), text);
  announce(text, true);
};

const useAsInput = (made) => {
  setPicture({ kind: "file", file: made.blob, name: made.name });
  byId("picture-title").scrollIntoView({ block: "start" });
  announce("The picture is the input now", true);
};

/** result: the body of the API. input: a URL of its input picture */
export const showFinished = async (result, input = "") => {
  clearProblem();
  try {
    await showResult(result, { input, onUse: useAsInput });
    showView("result");
    result.warnings?.forEach(showWarning);
    announce("The picture is ready", true);
  } catch (error) {
    showView("empty");
    showFailure(error.sentence ?? String(error));
  }
};
