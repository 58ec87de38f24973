// The console: recent jobs and a form to start one, or the page of the job named in the address.

import { alert, api, el, ENDED, pill, post, when } from "./dom.js";
import { jobPage } from "./job.js";

const REFRESH_MS = 3000;
const FIRST_SCHEMA = `{
  "type": "object",
  "properties": {
    "number": { "type": ["string", "null"], "description": "Invoice number" },
    "issue_date": { "type": ["string", "null"], "format": "date" },
    "line_items": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "description": { "type": ["string", "null"] },
          "quantity": { "type": ["number", "null"] },
          "amount": { "type": ["number", "null"] }
        }
      }
    },
    "total": { "type": ["number", "null"], "description": "Total amount" }
  }
}
`;

const main = document.getElementById("main");
const named = /^\/console\/jobs\/([^/]+)\/?$/.exec(location.pathname);
if (named) jobPage(main, named[1]);
else home();

function home() {
  const jobs = el("section", { class: "jobs", "aria-label": "Recent jobs" }, el("h1", {}, "Jobs"), el("div", { class: "list" }));
  main.replaceChildren(el("div", { class: "home" }, jobs, starter()));
  recent(jobs.lastChild);
}

/** Shows the newest jobs, and looks again while one of them is not over. */
async function recent(place) {
  let active = true;
  try {
    const [page, files] = await Promise.all([api("/jobs?limit=20"), api("/documents?limit=100").catch(() => null)]);
    const names = new Map((files?.documents ?? []).map((file) => [file.document_id, file.file_name]));
    active = page.jobs.some((job) => !ENDED.includes(job.status));
    if (!inUse(place)) place.replaceChildren(table(page.jobs, names), more(page, names, place));
  } catch (error) {
    if (!inUse(place)) place.replaceChildren(alert(error));
  }
  if (active) setTimeout(() => visible(() => recent(place)), REFRESH_MS);
}

/** Whether replacing the list would take away the focus or older jobs that were asked for. */
function inUse(place) {
  return place.contains(document.activeElement) || place.dataset.older !== undefined;
}

function visible(act) {
  if (document.hidden) document.addEventListener("visibilitychange", act, { once: true });
  else act();
}

function table(jobs, names) {
  if (jobs.length === 0) return el("p", { class: "none" }, "None yet. Choose a document and a schema to start the first one.");
  return el("div", { class: "scroll" }, el("table", { class: "list" },
    el("thead", {}, el("tr", {}, ["Document", "Status", "Subtrees", "Started"].map((word) => el("th", { scope: "col" }, word)))),
    el("tbody", {}, jobs.map((job) => row(job, names)))));
}

function row(job, names) {
  const name = names.get(job.document_id) ?? `job ${job.job_id.slice(0, 8)}`;
  const failed = job.subtrees_failed > 0 ? `, ${job.subtrees_failed} failed` : "";
  return el("tr", {},
    el("td", {}, el("a", { href: `/console/jobs/${encodeURIComponent(job.job_id)}` }, name)),
    el("td", {}, pill(job.status)),
    el("td", {}, `${job.subtrees_succeeded} of ${job.total_subtrees}${failed}`),
    el("td", {}, when(job.created_at)));
}

function more(page, names, place) {
  if (!page.next_cursor) return el("p", { class: "count" }, page.total_count === 1 ? "1 job" : `${page.total_count} jobs`);
  const button = el("button", { type: "button", class: "quiet", click: async () => {
    const next = await api(`/jobs?limit=20&cursor=${encodeURIComponent(page.next_cursor)}`).catch((error) => error);
    if (next instanceof Error) return button.replaceWith(alert(next));
    place.dataset.older = "";
    place.querySelector("tbody").append(...next.jobs.map((job) => row(job, names)));
    button.replaceWith(more(next, names, place));
  } }, "Older jobs");
  return button;
}

function starter() {
  const file = el("input", { type: "file", id: "file", required: true, accept: ".pdf,.txt,.md,.png,.jpg,.jpeg,application/pdf,text/plain,text/markdown,image/png,image/jpeg" });
  const stored = el("select", { id: "stored" }, el("option", { value: "" }, "Write one here"));
  const text = el("textarea", { id: "schema", rows: 20, spellcheck: "false", autocomplete: "off" });
  text.value = FIRST_SCHEMA;
  const written = el("div", { class: "field" }, el("label", { for: "schema" }, "JSON Schema"), text);
  stored.addEventListener("change", () => { written.hidden = stored.value !== ""; });
  const model = el("select", { id: "model" });
  const quotes = el("input", { type: "checkbox", id: "quotes", checked: true });
  const says = el("div", { class: "says", "aria-live": "polite" });
  const go = el("button", { type: "submit", class: "main" }, "Start");
  const check = el("button", { type: "button", click: () => run(() => plan(text.value)) }, "Check the schema");
  const run = async (act) => {
    go.disabled = check.disabled = true;
    try {
      says.replaceChildren(await act());
    } catch (error) {
      says.replaceChildren(alert(error));
    }
    go.disabled = check.disabled = false;
  };
  const form = el("form", { submit: (event) => {
    event.preventDefault();
    run(() => begin(file.files[0], stored.value, text.value, { model: model.value || undefined, per_key_attribution: quotes.checked }, says));
  } },
    el("h2", {}, "Start a job"),
    el("div", { class: "field" }, el("label", { for: "file" }, "Document"), file, el("p", { class: "hint" }, "PDF, plain text or Markdown")),
    el("div", { class: "field" }, el("label", { for: "stored" }, "Schema"), stored),
    written,
    el("div", { class: "field" }, el("label", { for: "model" }, "Model"), model),
    el("div", { class: "field tick" }, quotes, el("label", { for: "quotes" }, "Confidence and quotes for every value")),
    el("div", { class: "actions" }, go, check), says);
  choices(stored, model);
  return el("section", { class: "starter", "aria-label": "Start a job" }, form);
}

async function choices(stored, model) {
  const [schemas, models] = await Promise.all([api("/schemas?limit=100").catch(() => null), api("/models").catch(() => null)]);
  stored.append(...(schemas?.schemas ?? []).map((schema) => el("option", { value: schema.schema_id }, schema.name)));
  model.append(...(models?.models ?? []).map((one) =>
    el("option", { value: one.id, selected: one.id === models.default_model, title: one.description }, one.display_name)));
}

/** The schema as written, or an error that says where the text stops being JSON. */
function read(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The schema is not JSON. ${error.message}`);
  }
}

async function plan(text) {
  const verdict = await post("/schemas/validate", { schema_definition: read(text) });
  if (!verdict.valid) return alert({ message: "The schema cannot be used.", problem: verdict });
  const { subtrees, total_fields } = verdict.plan;
  const count = subtrees.length === 1 ? "1 subtree" : `${subtrees.length} subtrees`;
  return el("div", { class: "notice" }, el("p", {}, `Splits into ${count} with ${total_fields} fields:`),
    el("ul", {}, subtrees.map((subtree) => el("li", {}, subtree.path ? el("code", {}, subtree.path) : "top level", ` ${subtree.total_fields === 1 ? "1 field" : `${subtree.total_fields} fields`}`))));
}

async function begin(file, schema_id, text, config, says) {
  if (!file) throw new Error("Choose a document first.");
  const schema = schema_id ? { schema_id } : { schema: read(text) };
  says.replaceChildren(el("p", { class: "none" }, "Uploading the document"));
  const body = new FormData();
  body.append("file", file);
  const { document_id } = await api("/documents/upload", { method: "POST", body });
  const { job_id } = await post("/jobs", { document_id, ...schema, config });
  location.assign(`/console/jobs/${encodeURIComponent(job_id)}`);
  return el("p", { class: "none" }, "Started");
}
