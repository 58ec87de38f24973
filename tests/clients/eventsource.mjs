// npm `eventsource`: reconnects and resumes by itself.
import { EventSource } from "eventsource";
import { Taken, TYPES, request } from "./taken.mjs";

const { url, careless, method, body, headers } = request();
const taken = new Taken();
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, method, body, headers: { ...init.headers, ...headers } }),
});
for (const type of TYPES) {
  source.addEventListener(type, ({ data }) => {
    taken.take(data);
    if (taken.ended && !careless) {
      source.close();
      taken.sum();
    }
  });
}
source.addEventListener("error", () => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  if (!taken.ended) throw new Error("the stream was given up");
  taken.sum();
});
