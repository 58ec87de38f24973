// npm `event-source-plus`: with `on-error` it reconnects and resumes by itself after errors, and not after the end.
import { EventSourcePlus } from "event-source-plus";
import { Taken, pause, request } from "./taken.mjs";

const { url, ...options } = request();
const taken = new Taken();
const controller = new EventSourcePlus(url, { ...options, retryStrategy: "on-error" }).listen({
  onMessage({ data }) {
    taken.take(data);
    if (taken.ended) controller.abort();
  },
});
controller.onAbort(async () => {
  if (taken.ended) return taken.sum();
  // The server closed in good order, as before a restart.
  await pause();
  controller.reconnect();
});
