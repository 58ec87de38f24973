// npm `eventsource-client`: reconnects and resumes by itself.
import { createEventSource } from "eventsource-client";
import { Taken, request } from "./taken.mjs";

const { careless, ...options } = request();
const taken = new Taken();
const source = createEventSource(options);
for await (const { data } of source) {
  taken.take(data);
  if (taken.ended && !careless) break;
}
// After a 204 it has closed itself.
if (!careless) source.close();
taken.sum();
