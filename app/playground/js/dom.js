/** Small helpers for elements. Knows nothing of the page. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * attributes: functions are listeners (onclick, ...), true is an empty attribute, false, null and
 * undefined are left out
 */
export const element = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children);
  return node;
};

/** style: classes after "button" */
export const button = (style, onclick, ...children) =>
  element("button", { type: "button", class: `button ${style}`, onclick }, ...children);

/**
 * Choices side by side.
 * @returns {{node: HTMLElement, read: () => ?string, write: (choice: string) => void}}
 */
export const radios = (name, choices) => {
  const inputs = choices.map((value) => element("input", { type: "radio", name, value }));
  const labels = inputs.map((input) =>
    element("label", { class: "segment" }, input, element("span", {}, input.value)),
  );
  const write = (choice) => inputs.forEach((input) => (input.checked = input.value === choice));
  const read = () => inputs.find((input) => input.checked)?.value;
  return { node: element("div", { class: "segments" }, ...labels), read, write };
};

/** Calls `onChoose` with the index of the choice. */
export const chooser = (label, choices, chosen, onChoose) => {
  const { node, read, write } = radios(label, choices);
  write(choices[chosen]);
  Object.assign(node, { role: "radiogroup", ariaLabel: label });
  node.addEventListener("change", () => onChoose(choices.indexOf(read())));
  return node;
};

export const byId = (id) => document.getElementById(id);

/** Of a symbol in index.html, without "i-". */
export const icon = (name) => {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  drawing.append(use);
  return drawing;
};

/** Shows `text` in the element, or hides it. */
export const showText = (node, text) => {
  node.textContent = text;
  node.hidden = !text;
};

/** Back-off: 1 s first, 10 s at most. seconds: the last pause */
export const nextPause = (seconds = 0.5) => Math.min(10, seconds * 2);

export const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });

/** Tells the style sheets the shape of a picture. */
export const setRatio = (node, [width, height]) => {
  node.style.setProperty("--ratio", `${width} / ${height}`);
  node.style.setProperty("--width", String(width / height));
};
