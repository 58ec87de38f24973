#!/usr/bin/env python3
"""Sends a document and a JSON Schema, shows each part of the result as it lands, and prints the whole.

    pip install httpx
    python3 follow.py http://127.0.0.1:8080 invoice.pdf invoice.schema.json

An API key is taken from RIVULET_KEY.
"""

import json
import os
import random
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import httpx

KEY = os.environ.get("RIVULET_KEY")


def send(client, method, path, **options):
    """Opens an answer. A lost connection, 429 and 5xx are worth another try: later each time, at a moment drawn by
    chance so that clients do not come back together, and never sooner than the server wants."""
    for attempt in range(9):
        wanted = 0.0
        try:
            answer = client.send(client.build_request(method, path, **options), stream=True)
            if answer.status_code != 429 and answer.status_code < 500:
                if answer.is_error:
                    sys.exit(answer.read().decode())
                return answer
            wanted = float(answer.headers.get("Retry-After", 0))
            answer.close()
            problem = f"status {answer.status_code}"
        except httpx.TransportError as lost:
            problem = repr(lost)
        time.sleep(wanted + random.uniform(0, min(30, 2**attempt)))
    sys.exit(f"{path}: {problem}")


def ask(client, method, path, **options):
    with closing(send(client, method, path, **options)) as answer:
        return json.loads(answer.read())


def start(client, document, schema):
    upload = ask(client, "POST", "documents/upload", files={"file": (document.name, document.read_bytes())})
    body = {"document_id": upload["document_id"], "schema": json.loads(schema.read_text(encoding="utf-8"))}
    # The same key with every try: however often this is sent, there is one job.
    return ask(client, "POST", "jobs", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})["job_id"]


def events(answer):
    """The events of one connection. A frame counts when the blank line behind it is there."""
    data = None
    for line in answer.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif line == "" and data is not None:
            yield json.loads(data)
            data = None
        # Others: `event:` and `id:`, which are in the JSON too, `retry:`, and comments such as `:hb`.


def follow(client, job):
    """Follows a job to its `end`. A connection may be lost at any time; `last` says where to go on."""
    last = 0
    while True:
        try:
            stream = send(client, "GET", f"jobs/{job}/events", headers={"Last-Event-ID": str(last)})
            with closing(stream) as answer:
                for event in events(answer):
                    if event["sequence_number"] <= last:
                        continue  # seen before
                    last = event["sequence_number"]
                    if event["type"] == "subtree_result":
                        print(event["path"] or "/", json.dumps(event["extracted_result"]), file=sys.stderr)
                    elif event["type"] == "subtree_error":
                        print(event["path"] or "/", event["error_type"], event["error_message"], file=sys.stderr)
                    elif event["type"] == "end":
                        return event
        except httpx.TransportError:
            pass
        time.sleep(random.uniform(0.5, 1.5))


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: python3 follow.py SERVER DOCUMENT SCHEMA")
    server, document, schema = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    # The server is never silent for longer than 30 seconds.
    timeout = httpx.Timeout(10, read=60)
    with httpx.Client(base_url=f"{server}/v1/extract/", headers=headers, timeout=timeout) as client:
        job = start(client, document, schema)
        end = follow(client, job)
        print(end["status"], end.get("error_message") or "", file=sys.stderr)
        if not end["results_available"]:
            sys.exit(1)
        print(json.dumps(ask(client, "GET", f"jobs/{job}/results")["results"], indent=2))


if __name__ == "__main__":
    main()
