// npm `openai`: the stream iterator. It does not resume, so its user opens the stream again by GET.
import OpenAI, { APIConnectionError } from "openai";
import { Taken, pause } from "./taken.mjs";

const url = new URL(process.argv[2]);
const client = new OpenAI({ baseURL: url.origin, apiKey: "none" });
const taken = new Taken();
while (!taken.ended) {
  try {
    // It asks for JSON where it is not told otherwise, streams included.
    const headers = { Accept: "text/event-stream", ...(taken.last && { "Last-Event-ID": String(taken.last) }) };
    const stream = await client.get(url.pathname, { stream: true, headers });
    for await (const payload of stream) {
      if (!taken.take(payload)) break;
    }
  } catch (error) {
    // A lost connection is a TypeError of fetch when it is lost in the body.
    if (!(error instanceof APIConnectionError || error instanceof TypeError)) throw error;
  }
  if (!taken.ended) await pause();
}
taken.sum();
