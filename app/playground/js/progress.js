/** The view of a running job: its place in the queue, its steps, its previews. */

import { byId } from "./dom.js";
import { progressOf } from "./messages.js";

const ANNOUNCE_EVERY_MS = 5000;
let announcedAt = 0;
let announced = "";

/** Says it to screen readers; the same kind of news at most every few seconds. */
export const announce = (text, now = false) => {
  const recent = Date.now() - announcedAt < ANNOUNCE_EVERY_MS;
  if (!text || text === announced || (recent && !now)) return;
  announcedAt = Date.now();
  announced = text;
  byId("status").textContent = text;
};

export const showProgress = (job) => {
  const bar = byId("bar");
  if (job.steps) bar.value = job.step / job.steps;
  else bar.removeAttribute("value");
  const preview = byId("preview");
  preview.hidden = !job.preview;
  if (job.preview) preview.src = job.preview;
  const text = progressOf(job);
  byId("progress-text").textContent = text;
  announce(text);
};
