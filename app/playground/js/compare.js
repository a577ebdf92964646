/**
 * One seed with several strengths and stops of the ControlNet: plans the requests of a grid and
 * runs them, few at once, so that the server serves others meanwhile. Shows nothing.
 *
 * @typedef {{row: number, column: number, strength: number, stop: number, values: Values,
 *   state: "waiting"|"running"|"done"|"failed"|"cancelled"|"stopped", job: ?Job, picture: ?Blob,
 *   error: string}} Cell
 *   row, column: from 0. stopped: not sent, because the server refused another cell. job: once it
 *   runs. picture: once it is done. error: a sentence, or "".
 */

import { drawSeed } from "./seed.js";

export const MAX_SIDE = 4;

/**
 * @param {{strengths: number[], stops: number[], values: Object}} grid 1 to 4 strengths and stops;
 *   values: of the form. Without a seed, one is drawn for all cells.
 * @returns {Cell[]} row by row
 * @throws {RangeError} if there are too few or too many
 */
export const plan = ({ strengths, stops, values }) => {
  const [rows, columns] = [[...new Set(strengths)], [...new Set(stops)]];
  for (const side of [rows, columns]) {
    if (side.length < 1 || side.length > MAX_SIDE) {
      throw new RangeError(`Give 1 to ${MAX_SIDE} different strengths and stops.`);
    }
  }
  const drawn = Number(values.seed ?? -1) === -1;
  const shared = { ...values, seed: drawn ? drawSeed() : values.seed, samples: 1, base64: false };
  return rows.flatMap((strength, row) =>
    columns.map((stop, column) => ({
      ...{ row, column, strength, stop },
      values: { ...shared, cn_strength: strength, cn_stop: stop },
      ...{ state: "waiting", job: null, picture: null, error: "" },
    })),
  );
};

/**
 * Runs the waiting cells. The first submission that the server refuses stops the rest: the others
 * would be refused for the same reason (the key, its budget, a parameter).
 *
 * @param {Object} options startJob(values, picture) gives a Job, loadPicture(url) a Promise<Blob>;
 *   onCell(cell) after each change; signal cancels what runs and what waits; atOnce: jobs at a time
 * @returns {Promise<Cell[]>} the cells once none runs or waits; never rejects
 */
export const runComparison = async (cells, picture, options) => {
  const { startJob, loadPicture, onCell = () => {}, signal, atOnce = 2 } = options;
  const waiting = cells.filter(({ state }) => state === "waiting");
  let refusal = "";
  const set = (cell, changes) => {
    Object.assign(cell, changes);
    onCell(cell);
  };
  const runNext = async () => {
    while (waiting.length && !refusal && !signal?.aborted) {
      const cell = waiting.shift();
      const job = startJob(cell.values, picture);
      set(cell, { state: "running", job });
      await ended(job, signal, () => cell.state === "running" && onCell(cell));
      set(cell, signal?.aborted ? { state: "cancelled" } : await outcome(job, loadPicture));
      if (cell.state === "failed" && !job.id) refusal = cell.error;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runNext));
  const rest = signal?.aborted ? { state: "cancelled" } : { state: "stopped", error: refusal };
  for (const cell of waiting.splice(0)) set(cell, rest);
  return cells;
};

/** Resolves at the end of the job, or at once when the signal cancels it. */
const ended = (job, signal, onChange) =>
  new Promise((resolve) => {
    job.addEventListener("change", onChange);
    job.addEventListener("end", resolve);
    signal?.addEventListener("abort", () => {
      if (!job.ended) job.cancel();
      resolve();
    });
  });

const outcome = async (job, loadPicture) => {
  if (job.status !== "COMPLETED") return { state: "failed", error: job.error };
  try {
    return { state: "done", picture: await loadPicture(job.result.images[0].url) };
  } catch (error) {
    return { state: "failed", error: error.sentence ?? "The picture could not be loaded." };
  }
};
