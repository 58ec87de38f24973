"""PyPI `httpx-sse`: does not reconnect, so its user opens the stream again."""

import sys

import httpx
from httpx_sse import connect_sse

from taken import Taken, pause

url = sys.argv[1]
taken = Taken()
with httpx.Client(timeout=httpx.Timeout(10, read=60)) as client:
    while not taken.ended:
        try:
            with connect_sse(client, "GET", url, headers=taken.headers) as source:
                for event in source.iter_sse():
                    if not taken.take(event.data) or taken.ended:
                        break
        except httpx.TransportError:
            pass
        if not taken.ended:
            pause()
taken.sum()
