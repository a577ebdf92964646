/** The server-sent events of a request, read with fetch because the key travels in a header. */

import { ApiError, request, status } from "./api.js";
import { nextPause, pause } from "./dom.js";

const LAST = ["completed", "failed"];

/** One event out of its lines; null for a comment. */
const parsed = (block) => {
  const event = { id: "", name: "", text: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === "id") event.id = value;
    if (field === "event") event.name = value;
    if (field === "data") event.text += value;
  }
  return event.text ? { id: event.id, name: event.name, data: JSON.parse(event.text) } : null;
};

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield* blocks.map(parsed).filter(Boolean);
  }
}

/**
 * Calls onEvent for each event until the request has ended. Connects again when the stream breaks
 * or the server is away, from the event after the last one.
 * @param {{onEvent: (name: string, data: any) => void, onAway?: (error: ApiError|null) => void,
 *          signal?: AbortSignal}} options onAway: an error while the server is away, then null
 * @returns {Promise<void>} rejects with an ApiError if the request is unknown
 */
export const follow = async (id, { onEvent, onAway = () => {}, signal }) => {
  let last = "";
  let pauseS = nextPause();
  for (;;) {
    try {
      const headers = last ? { "last-event-id": last } : {};
      const options = { accept: "text/event-stream", headers, signal };
      const response = await request("GET", `v2/requests/${id}/events`, options);
      onAway(null);
      if (response.status === 204) {
        const body = await status(id);
        return onEvent(body.status.toLowerCase(), body);
      }
      for await (const event of eventsOf(response)) {
        pauseS = nextPause();
        last = event.id || last;
        onEvent(event.name, event.data);
        if (LAST.includes(event.name)) return undefined;
      }
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error instanceof ApiError && !error.passing) throw error;
      onAway(error instanceof ApiError ? error : new ApiError(0, ""));
    }
    await pause(pauseS, signal);
    pauseS = nextPause(pauseS);
  }
};
