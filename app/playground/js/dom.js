/** Small helpers for elements. Knows nothing of the page. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Record<string, unknown>} [attributes] functions are listeners (onclick, ...), true is an
 *     empty attribute, false, null and undefined are left out
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

/**
 * @param {string} style classes after "button" @param {() => void} onclick
 */
export const button = (style, onclick, ...children) =>
  element("button", { type: "button", class: `button ${style}`, onclick }, ...children);

export const byId = (id) => document.getElementById(id);

/** @param {string} name of a symbol in index.html, without "i-" @returns {SVGElement} */
export const icon = (name) => {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  drawing.append(use);
  return drawing;
};

/** Shows `text` in the element, or hides it. @param {HTMLElement} node @param {string} text */
export const showText = (node, text) => {
  node.textContent = text;
  node.hidden = !text;
};

/** @param {number} seconds @param {AbortSignal} [signal] @returns {Promise<void>} */
export const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });

/**
 * Tells the style sheets the shape of a picture.
 * @param {HTMLElement} node @param {number[]} size
 */
export const setRatio = (node, [width, height]) => {
  node.style.setProperty("--ratio", `${width} / ${height}`);
  node.style.setProperty("--width", String(width / height));
};
