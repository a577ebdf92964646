/** Wires the modules: what happens after which event. */

import { setParameters } from "./api.js";
import { startBudget, updateCredits } from "./budget.js";
import { startControlMap } from "./control_map.js";
import { byId, setRatio, showText } from "./dom.js";
import { sizeOf } from "./estimate.js";
import { buildForm, clearFaults, resetValues, showError, showSeed } from "./form.js";
import { valueOf, values } from "./form.js";
import { Job } from "./job.js";
import { key, needKey, onKeyChange } from "./key.js";
import { startKeyDialog } from "./key_dialog.js";
import { restore, startPanels } from "./panels.js";
import { picture, pictureCopy, pictureSize, startPictureInput } from "./picture_input.js";
import { announce, showProgress } from "./progress.js";
import { startSamples, useFirstSample } from "./samples.js";
import { loadSchema } from "./schema.js";
import { clearProblem, scrollToStage, setRunning, showFailure, showFinished } from "./stage.js";
import { showLast, showView } from "./stage.js";
import { readJson, writeStored } from "./storage.js";
import { startZoom } from "./zoom.js";

const RUNNING = "running";

/** @type {Job|null} */
let job = null;
/** Keeps a job in the history. */
let keep = () => {};

const ended = (input) => {
  setRunning(false);
  writeStored(RUNNING, null);
  updateCredits();
  if (job.status === "COMPLETED") {
    showSeed(job.result.seed);
    showFinished(job.result, input);
    return;
  }
  showLast();
  if (job.error === "cancelled") announce("Cancelled", true);
  else showFailure(job.error, job.faults, job.warnings);
};

const changed = () => {
  showProgress(job);
  if (!job.id || job.ended) return;
  writeStored(RUNNING, JSON.stringify({ id: job.id, values: job.values }));
};

/** Shows a job from now on. @param {Job} started */
const watch = (started) => {
  job = started;
  keep(job);
  const input = pictureCopy();
  clearFaults();
  clearProblem();
  setRunning(true);
  setRatio(byId("progress"), sizeOf(valueOf, pictureSize()));
  showView("progress");
  showProgress(job);
  job.addEventListener("change", () => job === started && changed());
  job.addEventListener("end", () => job === started && ended(input));
};

const run = () => {
  if (job && !job.ended) return;
  clearFaults();
  if (!key()) needKey("");
  else if (!picture()) showError("image", "Choose a picture first, or a sample.");
  else if (!values().prompt?.trim()) showError("prompt", "Say what to paint.");
  else {
    watch(Job.start(values(), picture()));
    scrollToStage();
  }
};

/** Goes on with the job that ran when the page was closed. */
const resume = () => {
  const running = readJson(RUNNING);
  if (running && key()) watch(Job.resume(running.id, running.values));
};

const startForm = () => {
  byId("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  byId("cancel").addEventListener("click", () => job?.cancel());
  byId("reset").addEventListener("click", resetValues);
  onKeyChange(clearProblem);
};

const start = async () => {
  startKeyDialog();
  startZoom();
  const schema = await loadSchema();
  setParameters(schema.names);
  await buildForm(schema.fields);
  startForm();
  startControlMap();
  startBudget(schema);
  await startPictureInput(restore);
  const samples = await startSamples();
  keep = await startPanels(schema.fields, { watch, showFinished, showProblem: showFailure });
  resume();
  if (!picture()) await useFirstSample(samples);
};

start().catch((error) => {
  showText(byId("away"), `The page could not load all of its parts; reload it. ${error}`);
});
