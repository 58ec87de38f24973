#!/usr/bin/env node
// Sends a document and a JSON Schema, shows each part of the result as it lands, and prints the whole.
//
//   node follow.mjs http://127.0.0.1:8080 invoice.pdf invoice.schema.json
//
// Needs Node 18 or later and no packages. An API key is taken from RIVULET_KEY.

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const [server, documentFile, schemaFile] = process.argv.slice(2);
if (!schemaFile) throw new Error("usage: node follow.mjs SERVER DOCUMENT SCHEMA");
const api = new URL("/v1/extract", server).href;
const key = process.env.RIVULET_KEY;
const always = key ? { Authorization: `Bearer ${key}` } : {};

// Asks until there is an answer. A lost connection, 429 and 5xx are worth another try: later each time, at a moment
// drawn by chance so that clients do not come back together, and never sooner than the server wants.
async function ask(path, { headers, ...options } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const answer = await fetch(api + path, { ...options, headers: { ...always, ...headers } }).catch((lost) => lost);
    if (answer.ok) return answer;
    const isPassing = answer instanceof Error || answer.status === 429 || answer.status >= 500;
    if (!isPassing || attempt === 8) throw answer instanceof Error ? answer : new Error(await answer.text());
    const wanted = Number(answer.headers?.get("Retry-After")) * 1000 || 0;
    await wait(wanted + Math.random() * Math.min(30_000, 1000 * 2 ** attempt));
  }
}

async function start() {
  const form = new FormData();
  form.append("file", new Blob([await readFile(documentFile)]), basename(documentFile));
  const upload = await ask("/documents/upload", { method: "POST", body: form });
  const { document_id } = await upload.json();
  const schema = JSON.parse(await readFile(schemaFile, "utf8"));
  const answer = await ask("/jobs", {
    method: "POST",
    // The same key with every try: however often this is sent, there is one job.
    headers: { "Content-Type": "application/json", "Idempotency-Key": randomUUID() },
    body: JSON.stringify({ document_id, schema }),
  });
  return (await answer.json()).job_id;
}

// The events of one connection. A frame counts when the blank line behind it is there.
async function* events(answer) {
  let rest = "";
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      // Beside it are `event:` and `id:`, which are in the JSON too, `retry:`, and comments such as `:hb`.
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      yield JSON.parse(data.slice("data: ".length));
    }
  }
}

// Follows a job to its `end`. A connection may be lost at any time; `last` says where to go on.
async function follow(job) {
  for (let last = 0; ; ) {
    const answer = await ask(`/jobs/${job}/events`, { headers: { "Last-Event-ID": String(last) } });
    try {
      for await (const event of events(answer)) {
        if (event.sequence_number <= last) continue; // seen before
        last = event.sequence_number;
        if (event.type === "subtree_result") console.error(event.path || "/", JSON.stringify(event.extracted_result));
        if (event.type === "subtree_error") console.error(event.path || "/", event.error_type, event.error_message);
        if (event.type === "end") return event;
      }
    } catch (lost) {
      if (!(lost instanceof TypeError)) throw lost; // which is what fetch makes of a connection lost in the body
    }
    await wait(500 + Math.random() * 1000);
  }
}

const job = await start();
const end = await follow(job);
console.error(end.status, end.error_message ?? "");
if (!end.results_available) process.exit(1);
const { results } = await (await ask(`/jobs/${job}/results`)).json();
console.log(JSON.stringify(results, null, 2));
