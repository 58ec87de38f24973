// npm `eventsource`: reconnects and resumes by itself.
import { EventSource } from "eventsource";
import { Taken, TYPES } from "./taken.mjs";

const [url, careless] = process.argv.slice(2);
const taken = new Taken();
const source = new EventSource(url);
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
