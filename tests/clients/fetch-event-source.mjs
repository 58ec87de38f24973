// npm `@microsoft/fetch-event-source`: reconnects by itself after errors. It notes an id before the blank line that
// ends the frame: an event that was cut right there is lost, and the cursor stands behind it. So its user looks for
// gaps and opens a new stream with a cursor of his own.
import { Taken, pause, request } from "./taken.mjs";

// It is made for browsers. This is all that it asks of one.
globalThis.window = globalThis;
globalThis.document = new EventTarget();
const { EventStreamContentType, fetchEventSource } = await import("@microsoft/fetch-event-source");

const { url, headers, ...options } = request();
const taken = new Taken();
class Final extends Error {}

while (!taken.ended) {
  const stop = new AbortController();
  await fetchEventSource(url, {
    signal: stop.signal,
    ...options,
    headers: { ...headers, ...(taken.last && { "last-event-id": `${taken.job}.${taken.last}` }) },
    openWhenHidden: true,
    async onopen(response) {
      const isStream = response.headers.get("content-type")?.startsWith(EventStreamContentType);
      if (response.status === 200 && isStream) return;
      if (response.status === 204 || (response.status >= 400 && response.status < 500)) throw new Final(response.status);
      throw new Error(`status ${response.status}`);
    },
    onmessage({ data }) {
      if (stop.signal.aborted) return; // the rest of what had come with it
      if (!taken.take(data) || taken.ended) stop.abort();
    },
    onclose() {
      if (!taken.ended) throw new Error("closed before the end");
    },
    onerror(error) {
      if (error instanceof Final) throw error;
    },
  });
  if (!taken.ended) await pause();
}
taken.sum();
