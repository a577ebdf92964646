/** The panel "Copy as": the request of the form as code, to copy. */

import { button, element } from "./dom.js";
import { snippet } from "./snippets.js";

const LANGUAGES = [
  ["curl", "curl"],
  ["python", "Python"],
  ["javascript", "JavaScript"],
];
const SHOWN_MS = 2500;

/** Also where navigator.clipboard is missing: on pages that came by plain HTTP. */
const copy = async (text, shown) => {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  getSelection().selectAllChildren(shown);
  document.execCommand("copy");
  getSelection().removeAllRanges();
};

/** call(): what snippet() takes. @returns {() => void} shows the request as it is now */
export const startSnippets = (place, call) => {
  let language = "curl";
  const shown = element("code", { id: "snippet" });
  const state = element("p", { class: "help", role: "status" });
  const show = () => (shown.textContent = snippet(language, call()));
  const buttons = LANGUAGES.map(([name, title]) => {
    const onclick = async () => {
      language = name;
      show();
      mark();
      await copy(shown.textContent, shown);
      state.textContent = `Copied as ${title}.`;
      setTimeout(() => (state.textContent = ""), SHOWN_MS);
    };
    return button("small", onclick, `Copy as ${title}`);
  });
  const mark = () =>
    buttons.forEach((one, index) =>
      one.classList.toggle("chosen", LANGUAGES[index][0] === language),
    );
  mark();
  const code = element("pre", { tabindex: 0, "aria-label": "Code of the request" }, shown);
  place.append(element("div", { class: "actions" }, ...buttons, state), code);
  show();
  return show;
};
