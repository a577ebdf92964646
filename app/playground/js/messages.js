/** The sentences of the page: what went wrong and what to do; what a request is doing. */

const FAULT = /(?:^|; )(([a-z][a-z0-9_]*)(?:\[\d+\](?:\.\w+)?)?): /g;

/**
 * The parts of an error text of the API: `steps: 10 is not allowed; allowed is ...; seed: ...`.
 * names: of the parameters
 * @returns {{parameter: string, sentence: string}[]} empty if no parameter is named
 */
export const faultsIn = (text, names) => {
  const starts = [...text.matchAll(FAULT)].filter((match) => names.has(match[2]));
  if (!starts.length || starts[0].index !== 0) return [];
  return starts.map((match, index) => ({
    parameter: match[1],
    sentence: capital(
      text
        .slice(match.index + match[0].length, starts[index + 1]?.index)
        .replace(/^"(-?[0-9.]+)"/, "$1"), // a form sends numbers as text
    ),
  }));
};

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const duration = (seconds) => {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
};

const again = (retryAfterS) =>
  retryAfterS ? ` This page tries again in ${duration(retryAfterS)}.` : "";

/** @param {number} status 0: no response */
export const sentenceOf = (status, text, retryAfterS) => {
  if (status === 0) {
    return "The server is away. Nothing that you typed is lost; this page tries again by itself.";
  }
  if (status === 401 && !text) return "Enter your API key first.";
  if (status === 401) {
    return "The server does not accept this API key. Enter another one, or ask its operator.";
  }
  if (status === 402) {
    return `${text}. Choose fewer steps, fewer samples or a smaller size, or ask for a top-up.`;
  }
  if (status === 413) return `${text}. Choose a smaller picture.`;
  if (status === 429) {
    return `Too many requests with this key.${again(retryAfterS)}`;
  }
  if (status === 503 && retryAfterS) {
    return `The queue is full.${again(retryAfterS)}`;
  }
  if (status === 503)
    return "The server cannot work at the moment. This page tries again by itself.";
  if (status === 404) return "The server no longer has this request: it has expired.";
  return capital(text || `The server answered ${status}.`);
};

/** What a job is doing, in words. */
export const progressOf = (job) => {
  const eta = job.etaS === null ? "" : ` · about ${duration(job.etaS)} left`;
  if (job.note) return job.note;
  if (job.status === "SENDING") return "Sending…";
  if (job.status === "QUEUED") {
    const place = { null: "In the queue", 1: "Next in the queue" }[job.position];
    return (place ?? `Position ${job.position} in the queue`) + eta;
  }
  if (job.status === "PROCESSING" && job.step === job.steps && job.steps) return "Finishing…";
  if (job.status === "PROCESSING" && job.steps) return `Step ${job.step} of ${job.steps}${eta}`;
  if (job.status === "PROCESSING") return `Starting${eta}`;
  return "";
};
