/** Keeps each job in the history of this browser, from its acceptance to its end. */

import { file } from "./api.js";
import { openHistory } from "./history.js";
import { renderHistory } from "./history_panel.js";
import { thumbnail } from "./thumbnail.js";

/** Of REQUEST_TTL_S, until a link of the result says when it really expires. */
const ASSUMED_LIFE_MS = 3_600_000;

const expiryOf = (url) => Number(new URL(url).searchParams.get("exp")) * 1000;

const endOf = async (job) => {
  const images = job.result?.images ?? [];
  const ended = { status: job.status, pictures: images.map(({ url }) => url) };
  if (!images.length) return ended;
  const first = await file(images[0].url).catch(() => null);
  const small = first && (await thumbnail(first));
  return { ...ended, expiresAt: expiryOf(images[0].url), thumbnail: small };
};

/** actions: see renderHistory. @returns {(job: Job) => void} keeps a job from now on */
export const startHistory = async (place, actions) => {
  const store = await openHistory();
  renderHistory(place, store, actions);
  return (job) => {
    let status = "";
    const keep = async () => {
      if (!job.id || job.status === status) return;
      status = job.status;
      const { id, values } = job;
      if (!store.list().some((entry) => entry.id === id)) {
        const createdAt = Date.now();
        const began = { id, createdAt, values, status, expiresAt: createdAt + ASSUMED_LIFE_MS };
        await store.add({ ...began, thumbnail: null, pictures: [] });
      }
      await store.update(id, job.ended ? await endOf(job) : { status });
    };
    let queue = Promise.resolve();
    const next = () => (queue = queue.then(keep));
    job.addEventListener("change", next);
    next();
  };
};
