/** The server-sent events of a request, read with fetch because the key travels in a header. */

import { ApiError, request, status } from "./api.js";
import { nextPause, pause } from "./dom.js";

const LAST = ["completed", "failed"];

/** One event out of its lines, whose data is one line; null for a comment. */
const parsed = (block) => {
  const lines = block.split("\n").map((line) => line.split(/: ?(.*)/));
  const { id, event, data } = Object.fromEntries(lines);
  return data ? { id, name: event, data: JSON.parse(data) } : null;
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
 * Calls onEvent(data) for each event until the request has ended. Connects again when the stream
 * breaks or the server is away, from the event after the last one; onAway: an error meanwhile, then
 * null. Rejects with an ApiError if the request is unknown.
 */
export const follow = async (id, { onEvent, onAway, signal }) => {
  let last = "";
  let pauseS = nextPause();
  for (;;) {
    try {
      const headers = last ? { "last-event-id": last } : {};
      const options = { accept: "text/event-stream", headers, signal };
      const response = await request("GET", `v2/requests/${id}/events`, options);
      onAway(null);
      if (response.status === 204) {
        return onEvent(await status(id));
      }
      for await (const event of eventsOf(response)) {
        pauseS = nextPause();
        last = event.id || last;
        onEvent(event.data);
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
