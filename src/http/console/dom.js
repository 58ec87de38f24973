// Elements, answers of the API, and words for times. Nothing here or elsewhere sets HTML:
// whatever a document or a server says goes into the page as text.

import { authorized } from "./key.js";

/** An element. Functions become listeners; `true` a bare attribute; `false` and null none. */
export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  fill(node, attributes);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The same in SVG. */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(node, attributes);
  node.append(...children);
  return node;
}

function fill(node, attributes) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/** A number that JavaScript would print otherwise than it was sent. */
export class Numeral {
  constructor(text) {
    this.text = text;
  }
  valueOf() {
    return Number(this.text);
  }
  toString() {
    return this.text;
  }
}

/** JSON in which every number can be shown digit for digit as it was sent. */
export function parse(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && context && context.source !== String(value) ? new Numeral(context.source) : value);
}

/** An answer that is not a 2xx. `problem` is its body. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** The JSON that the API answers with. */
export async function api(path, options) {
  const answer = await authorized(`/v1/extract${path}`, options);
  const text = await answer.text();
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  const body = json ? parse(text) : null;
  if (!answer.ok) throw new Refusal(answer.status, body ?? {});
  return body;
}

/** POSTs JSON. */
export function post(path, body) {
  return api(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** An error in words, with the single faults of a problem body. */
export function alert(error) {
  const errors = error.problem?.errors ?? [];
  return el("div", { class: "alert", role: "alert" },
    el("p", {}, error.message),
    errors.length > 0 && el("ul", {}, errors.map((one) => el("li", {}, el("code", {}, one.pointer || "/"), ` ${one.message}`))));
}

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A `<time>` on the reader's clock, with the exact moment on hover. */
export function when(time) {
  return el("time", { datetime: time, title: time }, moments.format(new Date(time)));
}

/** Milliseconds for people. */
export function lasting(ms) {
  const value = Number(ms);
  if (value < 1000) return `${Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toFixed(1)} s`;
  return `${Math.floor(value / 60_000)} min ${Math.round((value % 60_000) / 1000)} s`;
}

/** A status as a coloured word. */
export function pill(status) {
  return el("span", { class: `pill ${status}` }, status);
}

export const ENDED = ["completed", "failed", "cancelled"];
