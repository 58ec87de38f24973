// The key of a server that asks for one: asked for once, kept until the tab is closed.

import { el } from "./dom.js";

const NAME = "rivulet-key";
let asking = null;

/** `fetch` with the key; asks for one where the server wants another than it got. */
export async function authorized(address, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(NAME);
    const headers = key ? { ...options.headers, Authorization: `Bearer ${key}` } : options.headers;
    const answer = await fetch(address, { ...options, headers });
    if (answer.status !== 401) return answer;
    // Another request may have got a new one in the meantime.
    if (sessionStorage.getItem(NAME) === key) await (asking ??= ask(key !== null).finally(() => { asking = null; }));
  }
}

/** Whether addresses of the API can be opened only with the key. */
export function hasKey() {
  return sessionStorage.getItem(NAME) !== null;
}

function ask(again) {
  return new Promise((resolve) => {
    const input = el("input", { type: "password", id: "key", required: true, pattern: "[!-~]+", autocomplete: "off", spellcheck: "false" });
    const dialog = el("dialog", { class: "key", "aria-labelledby": "key-title", cancel: (event) => event.preventDefault() },
      el("form", { submit: (event) => {
        event.preventDefault();
        sessionStorage.setItem(NAME, input.value.trim());
        dialog.remove();
        resolve();
      } },
        el("h2", { id: "key-title" }, "This server asks for a key"),
        again && el("p", { class: "bad", role: "alert" }, "The key is not one of this server's, or was revoked."),
        el("div", { class: "field" }, el("label", { for: "key" }, "API key"), input,
          el("p", { class: "hint" }, el("code", {}, "rivulet keys create"), " makes one. It is kept until this tab is closed.")),
        el("div", { class: "actions" }, el("button", { type: "submit", class: "main" }, "Go on"))));
    document.body.append(dialog);
    dialog.showModal();
  });
}
