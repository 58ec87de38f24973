// The page of one job: follows its events and shows every subtree as it lands.

import { alert, api, el, ENDED, lasting, parse, pill, post, when } from "./dom.js";
import { authorized, hasKey } from "./key.js";
import { evidence, render } from "./values.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Fills `main` with the job named in the address. */
export function jobPage(main, id) {
  if (!UUID.test(id)) {
    main.replaceChildren(el("h1", {}, "No such job"), el("p", {}, el("code", {}, id), " is not the id of a job."));
    return;
  }
  document.title = "Job \u00b7 Rivulet";
  const page = new Page(id);
  main.replaceChildren(page.root);
  page.follow();
}

const KINDS = { agentic_array: "list" };

class Page {
  constructor(id) {
    this.id = id;
    this.last = 0;
    this.ended = false;
    this.cards = new Map();
    this.succeeded = 0;
    this.failed = 0;
    this.total = 0;
    this.misfits = 0;
    this.looked = false;
    this.build();
  }

  build() {
    const base = `/v1/extract/jobs/${this.id}`;
    this.title = el("h1", {}, "Job");
    this.status = el("span", { class: "status" }, pill("pending"));
    this.link = el("span", { class: "link", role: "status" }, "connecting");
    this.about = el("p", { class: "about" }, el("code", {}, this.id));
    this.results = el("a", { class: "button", href: `${base}/results`, hidden: true, click: (event) => this.save(event) }, "Results as JSON");
    this.cancel = el("button", { type: "button", class: "danger", click: () => this.stop() }, "Cancel the job");
    this.bar = el("progress", { max: 100, value: 0, "aria-label": "Progress of the job" });
    this.step = el("p", { class: "step" }, "Waiting for the first event");
    this.notices = el("div", { "aria-live": "polite" });
    this.list = el("div", { class: "subtrees" });
    this.closePanel = el("button", { type: "button", class: "quiet close", "aria-label": "Close", click: () => this.hide() }, "\u00d7");
    this.panelBody = el("div", {});
    this.panel = el("aside", { class: "panel", id: "evidence", "aria-label": "Where the value comes from", tabindex: "-1", hidden: true,
      keydown: (press) => press.key === "Escape" && this.hide() }, this.closePanel, el("h2", {}, "Where it comes from"), this.panelBody);
    this.root = el("div", { class: "job" },
      el("div", { class: "head" },
        el("div", {}, this.title, this.about),
        el("div", { class: "actions" }, this.results, el("a", { class: "button", href: `${base}/events`, click: (event) => this.read(event) }, "Events"), this.cancel)),
      el("div", { class: "progress" }, el("div", { class: "line" }, this.status, this.step, this.link), this.bar),
      this.notices,
      el("div", { class: "columns" }, this.list, this.panel));
  }

  /** Opens the stream after the last event that was seen, with a ticket: `EventSource` sends no key. */
  async follow() {
    try {
      const { events_url } = await post(`/jobs/${this.id}/stream-ticket`, {});
      this.open(`${events_url}&after=${this.last}`);
    } catch (error) {
      if (error.status === 404) this.missing(error);
      else this.later();
    }
  }

  /** The browser reconnects by itself, until it gives up. */
  open(address) {
    const source = new EventSource(address);
    source.onopen = () => this.connection("live");
    source.onerror = () => {
      if (this.ended) return;
      this.connection("reconnecting");
      if (source.readyState === EventSource.CLOSED) this.later();
    };
    const handlers = {
      start: (event) => this.start(event),
      job_status: (event) => this.changed(event),
      subtree_result: (event) => this.landed(event),
      subtree_error: (event) => this.broke(event),
      subtree_retry: (event) => this.retrying(event),
      agentic_array_progress: (event) => this.reading(event),
      end: (event) => { source.close(); this.end(event); },
    };
    for (const [type, act] of Object.entries(handlers)) {
      source.addEventListener(type, (frame) => {
        const event = parse(frame.data);
        if (event.sequence_number <= this.last) return;
        this.last = event.sequence_number;
        act(event);
        if (event.progress) this.progress(event.progress);
      });
    }
  }

  /** The browser has given up, as it does after a 502 or a 204: look before opening another stream. */
  later() {
    const wait = this.looked ? 1000 + Math.random() * 4000 : 0;
    this.looked = true;
    setTimeout(async () => {
      try {
        const job = await api(`/jobs/${this.id}`);
        if (ENDED.includes(job.status) && this.last >= job.last_sequence_number) return this.connection("ended");
      } catch (error) {
        if (error.status === 404) return this.missing(error);
      }
      this.follow();
    }, wait);
  }

  /** A link that the browser would follow without the key. */
  async save(event) {
    if (!hasKey()) return;
    event.preventDefault();
    const link = event.currentTarget;
    const answer = await authorized(link.href);
    if (!answer.ok) return this.notices.replaceChildren(alert(new Error(`The server answered ${answer.status}.`)));
    const address = URL.createObjectURL(await answer.blob());
    el("a", { href: address, download: link.pathname.split("/").slice(-2).join("-") }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  /** The same for events, which may still be coming. */
  async read(event) {
    if (!hasKey()) return;
    event.preventDefault();
    const { events_url } = await post(`/jobs/${this.id}/stream-ticket`, {});
    location.assign(events_url);
  }

  missing(error) {
    this.root.replaceChildren(el("h1", {}, "No such job"), alert(error));
  }

  connection(state) {
    this.link.textContent = { live: "live", reconnecting: "connection lost, trying again", ended: "" }[state];
    this.link.className = `link ${state}`;
  }

  start(event) {
    this.total = event.total_subtrees;
    this.status.replaceChildren(pill(event.status));
    this.about.replaceChildren(el("code", {}, event.job_id), " \u00b7 started ", when(event.start_time), event.model ? ` \u00b7 model ${event.model}` : "");
    for (const subtree of event.subtrees ?? []) this.card(subtree);
    if (event.document_id) this.named(event.document_id);
  }

  async named(document_id) {
    const file = await api(`/documents/${document_id}`).catch(() => null);
    if (!file) return;
    this.title.textContent = file.file_name;
    document.title = `${file.file_name} \u00b7 Rivulet`;
    const pages = file.page_count === 1 ? "1 page" : `${file.page_count} pages`;
    this.about.append(" \u00b7 ", el("a", { href: `/v1/extract/documents/${file.document_id}/content`, click: (event) => this.save(event) }, `document, ${pages}`));
  }

  progress({ completion_percentage, current_step }) {
    this.bar.value = Number(completion_percentage);
    const broken = this.failed ? `, ${this.failed} failed` : "";
    const counted = this.total ? `${this.succeeded} of ${this.total} subtrees${broken}` : "";
    this.step.textContent = this.ended ? counted : [current_step.replaceAll("_", " "), counted].filter(Boolean).join(" \u00b7 ");
  }

  changed({ status, reason, message }) {
    this.status.replaceChildren(pill(status));
    const quiet = reason === "scheduled" || reason === "resumed";
    this.notices.replaceChildren(...(quiet ? [] : [el("p", { class: "notice" }, message ?? `The job is ${status}: ${reason.replaceAll("_", " ")}.`)]));
  }

  /** The card of a subtree, made when it is first heard of. */
  card({ subtree_id, path, kind }) {
    const known = this.cards.get(subtree_id);
    if (known) return known;
    const card = { facts: el("p", { class: "facts" }, "waiting"), body: el("div", { class: "body" }) };
    card.root = el("section", { class: "subtree waiting" },
      el("header", {}, el("h2", {}, path ? el("code", {}, path) : "top level"), kind && el("span", { class: "kind" }, KINDS[kind] ?? kind), card.facts),
      card.body);
    this.cards.set(subtree_id, card);
    this.list.append(card.root);
    return card;
  }

  settle(event, look, ...facts) {
    const card = this.card(event);
    card.root.className = `subtree ${look}`;
    const time = event.duration_ms === undefined ? null : lasting(event.duration_ms);
    const calls = event.attempts > 1 ? `${event.attempts} attempts` : null;
    card.facts.textContent = [...facts, calls, time].filter(Boolean).join(" \u00b7 ");
    return card;
  }

  landed(event) {
    const faults = event.validation?.errors ?? [];
    this.succeeded += 1;
    this.misfits += faults.length;
    const card = this.settle(event, faults.length ? "doubtful" : "landed", faults.length ? "does not fit the schema" : null);
    const show = (...what) => this.show(...what);
    card.body.replaceChildren(
      event.oversize || event.withheld
        ? el("p", { class: "none" }, event.oversize ? "Too large for the stream; the results hold it." : "Held back until somebody has approved it.")
        : render(event.extracted_result, event.path, event.attributions, show),
      ...(faults.length ? [el("ul", { class: "faults" }, faults.map((fault) => el("li", {}, el("code", {}, fault.path || "/"), ` ${fault.message}`)))] : []));
  }

  broke(event) {
    this.failed += 1;
    const card = this.settle(event, "broken", event.error_type.replaceAll("_", " "));
    card.body.replaceChildren(el("p", { class: "bad" }, event.error_message));
  }

  retrying(event) {
    const card = this.card(event);
    card.root.className = "subtree waiting";
    card.facts.textContent = `attempt ${event.attempt} of ${event.max_attempts} failed, again in ${lasting(event.retry_delay_ms)}`;
    card.body.replaceChildren(el("p", { class: "none" }, event.error_message));
  }

  reading(event) {
    const card = this.card(event);
    const of = event.total_items_estimate ? ` of about ${event.total_items_estimate}` : "";
    card.facts.textContent = `${event.phase}: ${event.items_found} items${of}`;
  }

  end(event) {
    this.ended = true;
    this.connection("ended");
    this.status.replaceChildren(pill(event.status));
    this.cancel.remove();
    this.results.hidden = false;
    for (const card of this.cards.values()) {
      if (card.root.classList.contains("waiting")) card.facts.textContent = "no outcome";
    }
    const lost = event.total_subtrees - event.subtrees_succeeded;
    const words = {
      completed: event.partial ? `Completed, but ${lost} of ${event.total_subtrees} subtrees failed.` : "Every subtree was extracted.",
      failed: event.error_message ?? "The job failed.",
      cancelled: event.cancel_reason ?? "The job was cancelled.",
    }[event.status];
    const misfits = this.misfits === 1 ? "1 value does not fit the schema." : this.misfits && `${this.misfits} values do not fit the schema.`;
    const calls = event.usage_metadata?.request_count;
    const spent = [lasting(event.duration_ms), calls === 1 ? "1 call" : calls && `${calls} calls`, cost(event.usage_metadata)].filter(Boolean).join(" \u00b7 ");
    const look = event.status === "failed" ? "bad" : event.status === "completed" && !event.partial && !misfits ? "good" : "warm";
    this.notices.replaceChildren(el("p", { class: `notice end ${look}` }, el("strong", {}, words, misfits ? ` ${misfits}` : ""), ` ${spent}`));
  }

  async stop() {
    this.cancel.disabled = true;
    try {
      await post(`/jobs/${this.id}/cancel`, {});
    } catch (error) {
      this.notices.replaceChildren(alert(error));
      this.cancel.disabled = false;
    }
  }

  show(pointer, value, attribution, button) {
    this.asked?.setAttribute("aria-expanded", "false");
    this.asked = button;
    button.setAttribute("aria-expanded", "true");
    this.panelBody.replaceChildren(...evidence(pointer, value, attribution).filter(Boolean));
    this.panel.hidden = false;
    this.panel.focus({ preventScroll: true });
  }

  hide() {
    this.panel.hidden = true;
    this.asked?.setAttribute("aria-expanded", "false");
    this.asked?.focus();
  }
}

function cost(usage) {
  return usage && usage.cost_usd !== null && usage.cost_usd > 0 ? `$${Number(usage.cost_usd).toFixed(4)}` : null;
}
