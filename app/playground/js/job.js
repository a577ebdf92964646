/** A request from its submission to its result: sends it, follows it, cancels it. Shows nothing. */

import { ApiError, cancel, faultsOf, randomKey, result, submit } from "./api.js";
import { nextPause, pause } from "./dom.js";
import { follow } from "./events.js";

const CANCELLED = "cancelled";

/** Fires "change" at every change, then "end" once. */
export class Job extends EventTarget {
  id = "";
  /** @type {"SENDING"|"QUEUED"|"PROCESSING"|"COMPLETED"|"FAILED"} */
  status = "SENDING";
  step = 0;
  steps = 0;
  /** null: not known. */
  position = null;
  etaS = null;
  /** A data URI. */
  preview = "";
  /** The body of the result. @type {any} */
  result = null;
  /** A sentence. */
  error = "";
  /** @type {{parameter: string, sentence: string}[]} */
  faults = [];
  /** Of a request that has FAILED; {parameter, message} each. */
  warnings = [];
  /** A sentence while it waits to try again. */
  note = "";
  #abort = new AbortController();

  constructor(values) {
    super();
    this.values = values;
  }

  static start(values, picture) {
    const job = new Job(values);
    job.#run(async () => {
      const idempotencyKey = randomKey();
      const sent = await job.#repeated((signal) =>
        submit(values, picture, { idempotencyKey, signal }),
      );
      job.id = sent.request_id;
      job.#set({ status: "QUEUED", note: "" });
      await job.#followed();
    });
    return job;
  }

  static resume(id, values) {
    const job = new Job(values);
    job.id = id;
    job.status = "QUEUED";
    job.#run(() => job.#followed());
    return job;
  }

  get ended() {
    return this.status === "COMPLETED" || this.status === "FAILED";
  }

  /** Ends it; a request that the server has is cancelled there. */
  async cancel() {
    if (!this.id) return this.#abort.abort();
    try {
      await cancel(this.id);
    } catch (error) {
      this.#set({ note: error.sentence ?? String(error) });
    }
    return undefined;
  }

  #set(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
    if (this.ended && "status" in changes) this.dispatchEvent(new Event("end"));
  }

  async #run(steps) {
    await null; // so that the caller can add listeners first
    try {
      await steps();
    } catch (error) {
      const text = this.#abort.signal.aborted ? CANCELLED : (error.sentence ?? String(error));
      const { faults = [] } = error;
      this.#set({ status: "FAILED", error: text, faults, note: "" });
    }
  }

  /** Makes the call again while the server is away or full; an idempotency key makes that safe. */
  async #repeated(call) {
    const { signal } = this.#abort;
    for (let pauseS = nextPause(); ; pauseS = nextPause(pauseS)) {
      try {
        return await call(signal);
      } catch (error) {
        if (!(error instanceof ApiError) || !error.passing) throw error;
        this.#set({ note: error.sentence });
        await pause(error.retryAfterS ?? pauseS, signal);
      }
    }
  }

  async #followed() {
    await follow(this.id, {
      signal: this.#abort.signal,
      onEvent: (data) => this.#take(data),
      onAway: (error) => this.#set({ note: error?.sentence ?? "" }),
    });
    if (this.#last.status === "FAILED") return this.#fail(this.#last);
    const loaded = await this.#repeated(() => result(this.id));
    return this.#set({ result: loaded, note: "", status: "COMPLETED" });
  }

  #last = {};

  #take(data) {
    this.#last = data;
    if (data.status === "COMPLETED" || data.status === "FAILED") return;
    this.#set({
      status: data.status,
      note: "",
      etaS: data.eta_seconds ?? null,
      position: data.queue_position ?? null,
      ...(data.progress ?? {}),
      ...(data.preview ? { preview: data.preview } : {}),
    });
  }

  #fail({ error: text, warnings = [] }) {
    const faults = faultsOf(text);
    const error = faults[0]?.sentence ?? text;
    this.#set({ status: "FAILED", error, faults, warnings, note: "" });
  }
}
