// What a user of any client has to do beside it (STREAMING-DESIGN.md, section 9): drop what was seen before, notice
// a gap, know the end. What was taken is printed, one JSON line each, and a summary in the end.

export const TYPES = [
  "start", "job_status", "subtree_result", "subtree_error", "subtree_retry", "agentic_array_progress", "end",
];

export class Taken {
  last = 0;
  ended = false;
  delivered = 0;
  repeated = 0;
  gaps = 0;

  // Takes the text or the payload of an event; false when there is a gap before it.
  take(data) {
    const payload = typeof data === "string" ? JSON.parse(data) : data;
    this.delivered += 1;
    if (payload.sequence_number <= this.last) {
      this.repeated += 1;
      return true;
    }
    if (payload.sequence_number > this.last + 1) {
      this.gaps += 1;
      return false;
    }
    this.job = payload.job_id;
    this.last = payload.sequence_number;
    this.ended = payload.type === "end";
    console.log(JSON.stringify(typeof data === "string" ? { data } : { payload }));
    return true;
  }

  // Called when the user is done. The process is not told to exit: a client that would come back keeps it alive.
  sum() {
    const { delivered, repeated, gaps } = this;
    console.log(JSON.stringify({ summary: { delivered, repeated, gaps } }));
  }
}

// The request that the tests want: a GET of a job's events, or the POST that starts a job.
export function request() {
  const [url, given] = process.argv.slice(2);
  const { body, key, careless } = JSON.parse(given);
  if (!body) return { url, careless };
  // The key leads back to the job when the stream is lost before its first event.
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  return { url, careless, method: "POST", headers, body: JSON.stringify(body) };
}

// Before a stream is opened again by hand.
export const pause = () => new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 300));
