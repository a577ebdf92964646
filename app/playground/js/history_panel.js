/** The list of the history: open, resume and remove its entries by mouse, touch or keys. */

import { button, element as make } from "./dom.js";

const UNFINISHED = ["QUEUED", "PROCESSING"];
const SHORT = { dateStyle: "short", timeStyle: "short" };
const STATES = { QUEUED: "waiting", PROCESSING: "running", COMPLETED: "done", FAILED: "failed" };

/**
 * Shows the history in `element` and follows its changes. Arrow keys, Home and End move between the
 * entries, Delete removes one.
 *
 * @param {{onOpen: (entry) => void, onResume: (entry) => void}} actions onResume: for an entry that
 *   was unfinished when the page last heard of it
 */
export const renderHistory = (element, store, actions) => {
  const refresh = () => {
    const entries = store.list();
    const focus = focusedIn(element);
    const items = entries.map((entry) => item(entry, store, actions));
    element.replaceChildren(
      ...(store.note ? [make("p", { class: "help" }, store.note)] : []),
      ...(entries.length
        ? [make("ul", { class: "history-list" }, ...items), clearButton(store)]
        : [make("p", { class: "help" }, "No requests yet.")]),
    );
    restoreFocus(element, focus);
  };
  element.addEventListener("keydown", (event) => onKey(event, element, store));
  store.addEventListener("change", refresh);
  refresh();
};

/** Object URLs by thumbnail, so that a redrawn list does not flicker; they end with the page. */
const links = new Map();

const linkOf = (thumbnail) => {
  if (!links.has(thumbnail)) links.set(thumbnail, URL.createObjectURL(thumbnail));
  return links.get(thumbnail);
};

const clearButton = (store) => {
  const onclick = () => confirm("Remove all entries of the history?") && store.clear();
  return button("small quiet", onclick, "Clear history");
};

const item = (entry, store, { onOpen, onResume }) => {
  const unfinished = UNFINISHED.includes(entry.status) && !entry.expired;
  const state = entry.expired ? "expired" : (STATES[entry.status] ?? entry.status);
  const prompt = String(entry.values.prompt ?? "");
  const created = new Date(entry.createdAt);
  const open = make(
    ...["button", { type: "button", class: "history-open" }],
    picture(entry),
    make("span", { class: "history-prompt" }, prompt),
    make(
      ...["span", { class: "help history-state" }],
      make("time", { datetime: created.toISOString() }, created.toLocaleString([], SHORT)),
      ` · ${state}${unfinished ? " · resume" : ""}`,
    ),
  );
  open.addEventListener("click", () => (unfinished ? onResume : onOpen)(entry));
  const remove = button("quiet square history-remove", () => store.remove(entry.id), "×");
  remove.ariaLabel = `Remove: ${prompt}`;
  return make(
    ...["li", { "data-id": entry.id, class: entry.expired ? "history-expired" : null }],
    open,
    remove,
  );
};

const picture = ({ thumbnail }) => {
  if (!thumbnail) return make("span", { class: "history-thumbnail" });
  return make("img", { class: "history-thumbnail", src: linkOf(thumbnail), alt: "" });
};

// ---- keys

const opens = (element) => [...element.querySelectorAll(".history-open")];

const onKey = (event, element, store) => {
  const line = event.target.closest("li");
  if (!line) return;
  if (event.key === "Delete") {
    event.preventDefault();
    store.remove(line.dataset.id);
    return;
  }
  const buttons = opens(element);
  const index = buttons.findIndex((button) => line.contains(button));
  const steps = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 };
  const next = buttons[steps[event.key]];
  if (!next) return;
  event.preventDefault();
  next.focus();
};

/** Which button has the focus: {id, index, className} of its entry; null outside the list. */
const focusedIn = (element) => {
  const line = document.activeElement?.closest("li");
  if (!line || !element.contains(line)) return null;
  const { className } = document.activeElement;
  return { id: line.dataset.id, index: [...line.parentNode.children].indexOf(line), className };
};

/** On the same button, or on the entry that took the place of a removed one. */
const restoreFocus = (element, focus) => {
  if (!focus) return;
  const lines = [...element.querySelectorAll("li")];
  const same = lines.find((line) => line.dataset.id === focus.id);
  const line = same ?? lines[Math.min(focus.index, lines.length - 1)];
  line?.querySelector(`[class="${focus.className}"]`)?.focus();
};
