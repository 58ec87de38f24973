// Extracted values as nested tables, each leaf with its confidence and the place it was read at.

import { el, svg, Numeral } from "./dom.js";

const ROWS_SHOWN = 100;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Numeral);
const below = (pointer, key) => `${pointer}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/**
 * The value at `pointer`. `attributions` may be null; `show` is called with pointer, value,
 * attribution and the button when somebody asks where a leaf comes from.
 */
export function render(value, pointer, attributions, show) {
  if (Array.isArray(value)) return list(value, pointer, attributions, show);
  if (isObject(value)) return fields(value, pointer, attributions, show);
  return leaf(value, pointer, attributions, show);
}

function fields(value, pointer, attributions, show) {
  const entries = Object.entries(value);
  if (entries.length === 0) return el("span", { class: "none" }, "empty");
  return el("table", { class: "fields" }, el("tbody", {}, entries.map(([key, part]) =>
    el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, render(part, below(pointer, key), attributions, show))))));
}

function list(items, pointer, attributions, show) {
  if (items.length === 0) return el("span", { class: "none" }, "empty list");
  const tabular = items.every(isObject);
  const columns = tabular ? [...new Set(items.flatMap(Object.keys))] : [];
  const cells = (item, at) => tabular
    ? columns.map((key) => el("td", {}, key in item ? render(item[key], below(at, key), attributions, show) : null))
    : el("td", {}, render(item, at, attributions, show));
  const row = (item, index) => el("tr", {}, el("th", { scope: "row" }, index + 1), cells(item, below(pointer, index)));
  const body = el("tbody", {}, items.slice(0, ROWS_SHOWN).map(row));
  const table = el("table", { class: "rows" },
    tabular && el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "#"), columns.map((key) => el("th", { scope: "col" }, key)))),
    body);
  if (items.length <= ROWS_SHOWN) return el("div", { class: "scroll" }, table);
  const more = el("button", { type: "button", class: "quiet", click: () => {
    body.append(...items.slice(ROWS_SHOWN).map((item, index) => row(item, index + ROWS_SHOWN)));
    more.remove();
  } }, `Show all ${items.length} rows`);
  return el("div", { class: "scroll" }, table, more);
}

function leaf(value, pointer, attributions, show) {
  const text = value === null
    ? el("span", { class: "none" }, "no value")
    : el("span", { class: typeof value === "string" ? "text" : "number" }, value === "" ? "\u201c\u201d" : String(value));
  const attribution = attributions?.[pointer];
  if (!attribution || (value === null && !attribution.quotes?.length)) return text;
  const button = el("button", {
    type: "button",
    class: `evidence ${level(attribution.confidence)}${attribution.quotes?.some((quote) => quote.verified) ? "" : " unproven"}`,
    "aria-expanded": "false",
    "aria-controls": "evidence",
    title: attribution.quotes?.map((quote) => `\u201c${quote.text}\u201d`).join("\n") || "Not found in the document",
    "aria-label": `Where ${pointer} comes from: ${summary(attribution)}`,
    click: () => show(pointer, value, attribution, button),
  }, summary(attribution));
  return el("span", { class: "leaf" }, text, " ", button);
}

function summary({ confidence, quotes }) {
  const sure = confidence === null ? null : percent(confidence);
  const proven = quotes?.find((quote) => quote.verified);
  const place = proven ? (proven.page === null ? "quoted" : `page ${proven.page}`) : quotes?.length ? "quote not found" : "no quote";
  return [sure, place].filter(Boolean).join(" \u00b7 ");
}

const VERDICTS = {
  verified: "The value follows from what is printed there.",
  ambiguous: "The value may follow from the document, but not in one way only.",
  mismatch: "What is printed there says something else.",
  not_found: "The quote stands on no page.",
};

const percent = (confidence) => `${Math.round(confidence * 100)} %`;

function level(confidence) {
  if (confidence === null) return "unrated";
  if (confidence >= 0.85) return "high";
  return confidence >= 0.6 ? "middling" : "low";
}

/** What is known of where a leaf comes from, for the side panel. */
export function evidence(pointer, value, { confidence, reasoning, quotes, verdict }) {
  return [
    el("p", { class: "pointer" }, el("code", {}, pointer || "/")),
    el("p", { class: "value" }, value === null ? el("span", { class: "none" }, "no value") : String(value)),
    confidence !== null && el("p", { class: "sure" },
      el("meter", { min: 0, max: 1, low: 0.6, high: 0.85, optimum: 1, value: Number(confidence), "aria-label": "Confidence" }), ` ${percent(confidence)} sure`),
    verdict && VERDICTS[verdict] && el("p", { class: "verdict" }, VERDICTS[verdict]),
    reasoning && el("p", { class: "reasoning" }, reasoning),
    quotes?.length ? quotes.map(quotation) : el("p", { class: "none" }, "Found nowhere in the document."),
  ].flat();
}

function quotation(quote) {
  const place = [quote.page === null ? "page not known" : `page ${quote.page}`, quote.match].filter(Boolean).join(" \u00b7 ");
  return el("figure", { class: quote.verified ? "quote" : "quote claimed" },
    el("blockquote", {}, quote.text),
    el("figcaption", {}, place, quote.verified ? el("span", { class: "good" }, " \u2713 found there") : el("span", { class: "bad" }, " not found there; a claim only")),
    quote.bbox && sketch(quote.bbox, quote.page));
}

/** The place on the page, drawn on an empty sheet. */
function sketch(bbox, page) {
  const [x0, y0, x1, y1] = bbox.map((side) => side * 100);
  const box = svg("rect", { class: "mark", x: x0 - 0.6, y: (y0 - 0.6) * 1.414, width: x1 - x0 + 1.2, height: (y1 - y0 + 1.2) * 1.414, rx: 0.8 });
  return svg("svg", { class: "sheet", viewBox: "-1 -1 102 143.4", role: "img", "aria-label": `Place on page ${page}` },
    svg("rect", { class: "paper", x: 0, y: 0, width: 100, height: 141.4, rx: 1.5 }), box);
}
