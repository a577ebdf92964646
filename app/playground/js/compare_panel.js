/** The panel of comparisons: the strengths and stops to try, run, cancel, the contact sheet. */

import { plan, runComparison } from "./compare.js";
import { renderComparison } from "./compare_grid.js";
import { contactSheet } from "./contact_sheet.js";
import { button, element as make, showText } from "./dom.js";
import { creditsText } from "./estimate.js";
import { readStored, writeStored } from "./storage.js";

/**
 * @param {Object} page values(), picture() and priceOf(all values) as they are now; startJob,
 *   loadPicture and onOpen as in compare.js and compare_grid.js; updateCredits()
 * @returns {() => void} shows what the comparison will cost
 */
export const startCompare = (element, page) => {
  const strengths = numbersField("Strengths", "0.3, 0.7, 1.1");
  const stops = numbersField("Stops", "0.3, 0.6, 1");
  const run = make("button", { type: "submit", class: "button primary" }, "Compare");
  const cancel = button("", () => abort.abort(), "Cancel all");
  const save = button("", () => saveSheet(cells), "Download contact sheet");
  const price = make("p", { class: "help" });
  const state = make("p", { class: "help", role: "status" });
  const fault = make("p", { class: "fault", role: "alert" });
  const region = { class: "compare-scroll", role: "region", "aria-label": "Grid", tabindex: 0 };
  const grid = make("div", region);
  const fields = [strengths.label, stops.label];
  const form = make("form", { class: "compare-form" }, ...fields, run, cancel, save);
  element.append(form, price, fault, state, grid);
  let cells = [];
  let abort;

  const planned = () =>
    plan({ strengths: strengths.numbers(), stops: stops.numbers(), values: page.values() });
  const priced = (all) => page.priceOf(all.map(({ values }) => values));

  const showPrice = () => {
    try {
      const all = planned();
      const cost = priced(all)?.cost;
      const credits = cost ? `, about ${creditsText(cost)} credits` : "";
      price.textContent = `${all.length} pictures of one seed${credits}`;
    } catch {
      price.textContent = ""; // the fields are being edited
    }
  };

  /** @throws {RangeError} if the key has too little left */
  const checkBudget = async (all) => {
    await page.updateCredits();
    const { cost = 0, balance = 0 } = priced(all) ?? {};
    if (cost <= balance) return;
    throw new RangeError(
      `This comparison needs about ${creditsText(cost)} credits, and the key has ` +
        `${creditsText(balance)} left. Choose fewer or smaller pictures, or ask for a top-up.`,
    );
  };

  const start = async (event) => {
    event.preventDefault();
    if (run.disabled) return;
    const picture = page.picture();
    showText(fault, "");
    run.disabled = true;
    try {
      if (!picture) throw new RangeError("Choose a picture first.");
      const all = planned();
      await checkBudget(all);
      cells = all;
    } catch (error) {
      showText(fault, error.message);
      run.disabled = false;
      return;
    }
    await runPlanned(picture);
    page.updateCredits();
  };

  const busy = (is) => {
    run.disabled = is;
    cancel.hidden = !is;
    save.hidden = is || !cells.some(({ picture: made }) => made);
  };

  const runPlanned = async (picture) => {
    abort = new AbortController();
    const update = renderComparison(grid, cells, page);
    const onCell = (cell) => {
      update(cell);
      state.textContent = summary(cells);
    };
    busy(true);
    await runComparison(cells, picture, { ...page, onCell, signal: abort.signal });
    busy(false);
    showText(fault, cells.find((cell) => cell.state === "stopped")?.error ?? "");
  };

  form.addEventListener("submit", start);
  busy(false);
  showPrice();
  return showPrice;
};

const numbersField = (text, value) => {
  const name = text.toLowerCase();
  const attributes = { type: "text", autocomplete: "off", spellcheck: "false" };
  const input = make("input", { ...attributes, value: readStored(name) ?? value });
  input.addEventListener("input", () => writeStored(name, input.value));
  const numbers = () => {
    const found = input.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (!found.length || found.some((number) => !Number.isFinite(number))) {
      throw new RangeError(`${text}: give 1 to 4 numbers, for example ${value}.`);
    }
    return found;
  };
  return { label: make("label", {}, text, input), numbers };
};

const summary = (cells) => {
  const count = (state) => cells.filter((cell) => cell.state === state).length;
  const names = { failed: "failed", cancelled: "cancelled", stopped: "not sent" };
  const others = Object.keys(names).filter(count).map((state) => `${count(state)} ${names[state]}`);
  return [`${count("done")} of ${cells.length} done`, ...others].join(", ");
};

const saveSheet = async (cells) => {
  const url = URL.createObjectURL(await contactSheet(cells));
  make("a", { href: url, download: `comparison-${cells[0].values.seed}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
};
