/** A control of the form that holds a list: rows, and what adds one. */

import { element } from "./dom.js";
import { framed } from "./field_frame.js";

/**
 * @param {number} limit of the rows
 * @param {(value: object, index: number) => {node: HTMLElement, read: () => object}} rowOf
 * @param {HTMLElement} adder hidden while the list is full
 * @param {() => void} onWrite after each change of the rows
 * @returns {Control} also add(value), remove(index), change(values), which tell the form; reads as
 *   undefined without rows
 */
export const listControl = (field, limit, rowOf, adder, onWrite = () => {}) => {
  let rows = [];
  const list = element("div", { class: "rows" });
  const node = framed(field, element("div", {}, list, adder), true);
  const read = () => (rows.length ? rows.map((row) => row.read()) : undefined);
  const write = (values = []) => {
    rows = values.slice(0, limit).map(rowOf);
    list.replaceChildren(...rows.map((row) => row.node));
    adder.hidden = rows.length >= limit;
    onWrite();
  };
  const change = (values) => {
    write(values);
    node.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const add = (value) => {
    change([...(read() ?? []), value]);
    list.lastChild.querySelector("input").focus();
  };
  const remove = (index) => {
    change(read().toSpliced(index, 1));
    (adder.firstElementChild ?? adder).focus();
  };
  return { node, read, write, add, remove, change };
};
