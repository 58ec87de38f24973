// The API reference, drawn from /openapi.json.

import { alert, el, parse } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
const main = document.getElementById("main");

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json cannot be had: the server answered ${answer.status}.`);
  draw(parse(await answer.text()));
} catch (error) {
  main.replaceChildren(alert(error));
}

function draw(doc) {
  const operations = Object.entries(doc.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, shared: item.parameters ?? [], ...item[method] })));
  const groups = doc.tags.map((tag) => ({ ...tag, operations: operations.filter((operation) => operation.tags.includes(tag.name)) }));
  const schemas = named(doc);
  main.replaceChildren(el("div", { class: "docs" }, contents(groups, schemas), el("article", {},
    el("h1", {}, `${doc.info.title} ${doc.info.version}`), prose(doc.info.description),
    groups.map((group) => [el("h2", { id: `tag-${group.name}` }, capital(group.name)), prose(group.description), group.operations.map((operation) => section(doc, operation))]),
    el("h2", { id: "schemas" }, "Bodies and events"),
    schemas.map(([name, schema]) => described(name, schema)))));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

/** Every schema by its name; the parts of a schema that only holds parts stand for themselves. */
function named(doc) {
  return Object.entries(doc.components.schemas).flatMap(([name, schema]) => {
    const parts = Object.entries(schema.$defs ?? {}).map(([part, inner]) => [`${name}.${part}`, inner]);
    return schema.type || schema.anyOf || schema.required ? [[name, schema], ...parts] : parts;
  });
}

function contents(groups, schemas) {
  return el("nav", { "aria-label": "Contents" },
    groups.map((group) => [el("h2", {}, capital(group.name)),
      el("ul", {}, group.operations.map((operation) => el("li", {}, el("a", { href: `#${operation.operationId}` }, operation.summary))))]),
    el("h2", {}, "Bodies and events"),
    el("ul", {}, schemas.map(([name]) => el("li", {}, el("a", { href: `#schema-${name}` }, el("code", {}, name))))));
}

function section(doc, operation) {
  const parameters = [...operation.shared, ...(operation.parameters ?? [])].map((parameter) => resolve(doc, parameter));
  return el("section", { class: "operation", id: operation.operationId },
    el("h3", {}, operation.summary),
    el("p", { class: "address" }, el("span", { class: `method ${operation.method}` }, operation.method.toUpperCase()), el("code", {}, operation.path)),
    prose(operation.description),
    parameters.length > 0 && [el("h4", {}, "Parameters"), el("table", {}, el("tbody", {}, parameters.map(parameterRow)))],
    operation.requestBody && [el("h4", {}, "Body"), content(operation.requestBody.content)],
    el("h4", {}, "Answers"),
    el("table", { class: "answers" }, el("tbody", {}, Object.entries(operation.responses).map(([status, response]) => responseRow(status, resolve(doc, response))))));
}

function parameterRow(parameter) {
  return el("tr", {},
    el("th", { scope: "row" }, el("code", {}, parameter.name), " ", parameter.required && el("span", { class: "must" }, "required"), el("div", { class: "type" }, parameter.in)),
    el("td", {}, prose(parameter.description), el("div", { class: "type" }, typeOf(parameter.schema))));
}

function responseRow(status, response) {
  const headers = Object.keys(response.headers ?? {});
  const problem = response.content?.["application/problem+json"];
  return el("tr", {},
    el("th", { scope: "row" }, status),
    el("td", {}, prose(response.description), response.content && !problem && content(response.content),
      headers.length > 0 && !problem && el("div", { class: "type" }, "Headers: ", spaced(headers.map((name) => el("code", {}, name)), ", "))));
}

function content(types) {
  return Object.entries(types).map(([type, media]) => el("div", {}, el("code", {}, type), " ", media["x-event-schema"] ? typeOf(media["x-event-schema"]) : typeOf(media.schema),
    media.example && folded("Example", media.example)));
}

function described(name, schema) {
  const examples = schema.examples ?? [];
  return el("section", { class: "schema", id: `schema-${name}` },
    el("h3", {}, el("code", {}, name), schema.title ? ` ${schema.title}` : ""),
    prose(schema.description),
    schema.properties ? properties(schema) : el("p", { class: "type" }, typeOf(schema)),
    schema.type === "object" && schema.properties && examples.slice(0, 1).map((example) => folded("Example", JSON.stringify(example, null, 2))));
}

function properties(schema) {
  return el("table", {}, el("tbody", {}, Object.entries(schema.properties).map(([name, property]) =>
    el("tr", {},
      el("th", { scope: "row" }, el("code", {}, name), " ", schema.required?.includes(name) && el("span", { class: "must" }, "required")),
      el("td", {}, el("div", { class: "type" }, typeOf(property)), prose(property.description), nested(property))))));
}

/** The members of an object, or of the objects of a list, that has no name of its own. */
function nested(property) {
  const inner = [property, property.items, ...(property.anyOf ?? [])].find((one) => one?.properties);
  return inner && el("div", { class: "inner" }, properties(inner));
}

/** A schema in a few words, with links to the ones that have names. */
function typeOf(schema) {
  if (!schema) return "any JSON";
  if (schema.$ref) return reference(schema.$ref);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return [spaced(choices.map(typeOf), " or "), fallback(schema)];
  if (schema.const !== undefined) return el("code", {}, JSON.stringify(schema.const));
  if (schema.enum) return spaced(schema.enum.map((one) => el("code", {}, JSON.stringify(one))), " or ");
  if (schema.type === "array") return ["list of ", typeOf(schema.items), limits(schema)];
  if (!schema.type) return "any JSON";
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type;
  return [type, schema.format ? ` (${schema.format})` : "", limits(schema), fallback(schema)];
}

function limits({ minimum, maximum, minLength, maxLength, minItems, maxItems, pattern }) {
  const said = [
    range(minimum, maximum), minLength === 1 && maxLength === undefined ? "not empty" : range(minLength, maxLength, "characters"), range(minItems, maxItems, "items"),
  ].filter(Boolean).map((text) => `, ${text}`).join("");
  return pattern ? [said, ", ", el("code", {}, pattern)] : said;
}

function range(from, to, unit = "") {
  if (from === undefined && to === undefined) return null;
  const words = to === undefined ? `at least ${from}` : from === undefined ? `at most ${to}` : from === to ? `${to}` : `${from} to ${to}`;
  return `${words} ${unit}`.trim();
}

function fallback(schema) {
  return schema.default === undefined ? null : [", default ", el("code", {}, JSON.stringify(schema.default))];
}

function reference(ref) {
  const name = ref.replace("#/components/schemas/", "").replace("/$defs/", ".");
  return el("a", { href: `#schema-${name}` }, el("code", {}, name));
}

function resolve(doc, node) {
  return node.$ref ? node.$ref.slice(2).split("/").reduce((at, key) => at[key], doc) : node;
}

/** Paragraphs, lists and code words: as much of Markdown as the document uses. */
function prose(text) {
  if (!text) return null;
  return el("div", { class: "prose" }, text.split("\n\n").map((block) => block.startsWith("- ")
    ? el("ul", {}, block.split("\n").map((line) => el("li", {}, words(line.slice(2)))))
    : el("p", {}, words(block))));
}

function words(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

function folded(title, text) {
  return el("details", {}, el("summary", {}, title), el("pre", { tabindex: 0 }, text));
}

function spaced(parts, between) {
  return parts.flatMap((part, index) => (index ? [between, part] : [part]));
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
