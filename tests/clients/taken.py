"""What a user of any client has to do beside it (STREAMING-DESIGN.md, section 9): drop what was seen before, notice a
gap, know the end. What was taken is printed, one JSON line each, and a summary in the end."""

import json
import random
import time


class Taken:
    def __init__(self):
        self.last = 0
        self.ended = False
        self.delivered = self.repeated = self.gaps = 0

    def take(self, data):
        """Takes the text or the payload of an event; false when there is a gap before it."""
        payload = json.loads(data) if isinstance(data, str) else data
        self.delivered += 1
        if payload["sequence_number"] <= self.last:
            self.repeated += 1
            return True
        if payload["sequence_number"] > self.last + 1:
            self.gaps += 1
            return False
        self.last = payload["sequence_number"]
        self.ended = payload["type"] == "end"
        print(json.dumps({"data" if isinstance(data, str) else "payload": data}), flush=True)
        return True

    @property
    def headers(self):
        return {"Last-Event-ID": str(self.last)} if self.last else {}

    def sum(self):
        counts = {"delivered": self.delivered, "repeated": self.repeated, "gaps": self.gaps}
        print(json.dumps({"summary": counts}), flush=True)


def pause():
    """Before a stream is opened again by hand."""
    time.sleep(random.uniform(0.2, 0.5))
