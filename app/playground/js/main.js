/** Wires the modules: what happens after which event. */

import { ApiError, credits, setParameters } from "./api.js";
import { startControlMap } from "./control_map.js";
import { byId, setRatio, showText } from "./dom.js";
import { creditsText, estimate, sizeOf } from "./estimate.js";
import { buildForm, clearFaults, resetValues, showError, showSeed, valueOf, values } from "./form.js";
import { Job } from "./job.js";
import { key, needKey, onKeyChange } from "./key.js";
import { startKeyDialog } from "./key_dialog.js";
import { restore, startPanels } from "./panels.js";
import { onPicture, onPictureSize, picture, pictureSize, setPicture, startPictureInput } from "./picture_input.js";
import { announce, showProgress } from "./progress.js";
import { showResult } from "./result.js";
import { startSamples, useFirstSample } from "./samples.js";
import { loadSchema } from "./schema.js";
import { readJson, writeStored } from "./storage.js";
import { startZoom } from "./zoom.js";

const RUNNING = "running";
const NARROW = matchMedia("(max-width: 959px)");
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** @type {Job|null} */
let job = null;
/** @type {number|null} credits of the key; null if it has no budget */
let balance = null;
let schema = null;
/** Keeps a job in the history. */
let keep = () => {};

const show = (view) => {
  for (const id of ["empty", "progress", "result"]) byId(id).hidden = id !== view;
};

const updateEstimate = () => {
  showText(byId("credits"), balance === null ? "" : `${creditsText(balance)} credits`);
  const price = balance === null || !schema ? 0 : estimate(schema, valueOf, pictureSize());
  showText(byId("estimate"), price ? `about ${creditsText(price)} credits` : "");
};

const updateCredits = async () => {
  if (!key()) balance = null;
  else balance = await credits().catch(() => null);
  updateEstimate();
};

const setRunning = (running) => {
  byId("run").disabled = running;
  byId("run").textContent = running ? "Generating…" : "Generate";
};

const showStage = () => {
  if (!NARROW.matches) return;
  byId("stage").scrollIntoView({ behavior: CALM.matches ? "auto" : "smooth", block: "start" });
};

/** Shows a failure: beside the fields it names, else above the result. */
const showFailure = (sentence, faults = []) => {
  const shown = faults.filter(({ parameter, sentence: text }) => showError(parameter, text));
  const text = shown.length ? "The request was not accepted; see the marked fields." : sentence;
  showText(byId("problem"), text);
  announce(text, true);
};

const ended = async () => {
  setRunning(false);
  writeStored(RUNNING, null);
  updateCredits();
  if (job.status === "FAILED") {
    show(byId("result").children.length ? "result" : "empty");
    if (job.error !== "cancelled") showFailure(job.error, job.faults);
    else announce("Cancelled", true);
    return;
  }
  showSeed(job.result.seed);
  showFinished(job.result, job.input);
};

const showFinished = async (result, input = "") => {
  showText(byId("problem"), "");
  try {
    await showResult(result, { input, onUse });
    show("result");
    announce("The picture is ready", true);
  } catch (error) {
    show("empty");
    showFailure(error.sentence ?? String(error));
  }
};

/** Shows a job from now on. @param {Job} started */
const watch = (started) => {
  job = started;
  keep(job);
  clearFaults();
  showText(byId("problem"), "");
  setRunning(true);
  setRatio(byId("progress"), sizeOf(valueOf, pictureSize()));
  show("progress");
  showProgress(job);
  job.addEventListener("change", () => {
    if (job !== started) return;
    showProgress(job);
    if (job.id && !job.ended) writeStored(RUNNING, JSON.stringify({ id: job.id, values: job.values }));
  });
  job.addEventListener("end", () => job === started && ended());
};

/** A URL of the input as it is now, which outlives a change of the input. */
const inputCopy = () => {
  const view = byId("input-view");
  if (!view.naturalWidth) return "";
  const canvas = document.createElement("canvas");
  canvas.width = view.naturalWidth;
  canvas.height = view.naturalHeight;
  canvas.getContext("2d").drawImage(view, 0, 0);
  return canvas.toDataURL("image/webp", 0.9);
};

const run = () => {
  if (job && !job.ended) return;
  clearFaults();
  if (!key()) return needKey("");
  if (!picture()) return void showError("image", "Choose a picture first, or a sample.");
  if (!values().prompt?.trim()) return void showError("prompt", "Say what to paint.");
  const started = Job.start(values(), picture());
  started.input = inputCopy();
  watch(started);
  showStage();
};

const onUse = (made) => {
  setPicture({ kind: "file", file: made.blob, name: made.name });
  byId("picture-title").scrollIntoView({ block: "start" });
  announce("The picture is the input now", true);
};

const resume = () => {
  const running = readJson(RUNNING);
  if (!running || !key()) return;
  const resumed = Job.resume(running.id, running.values);
  resumed.input = inputCopy();
  watch(resumed);
};

const startForm = () => {
  const form = byId("controls");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  byId("cancel").addEventListener("click", () => job?.cancel());
  byId("reset").addEventListener("click", resetValues);
  for (const name of ["input", "change", "valueschange"]) byId("page").addEventListener(name, updateEstimate);
  onPicture(updateEstimate);
  onPictureSize(updateEstimate);
};

const start = async () => {
  startKeyDialog();
  startZoom();
  schema = await loadSchema();
  setParameters(schema.names);
  buildForm(schema.fields);
  startForm();
  startControlMap();
  onKeyChange(updateCredits);
  await startPictureInput(restore);
  const samples = await startSamples();
  keep = await startPanels(schema.fields, {
    ...{ watch, showFinished },
    showProblem: (sentence) => showFailure(sentence),
  });
  resume();
  updateCredits();
  if (!picture()) await useFirstSample(samples);
};

start().catch((error) => {
  showText(byId("away"), "The page could not load its parts; reload it. " + (error instanceof ApiError ? error.sentence : error));
});
