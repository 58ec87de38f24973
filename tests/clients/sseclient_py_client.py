"""PyPI `sseclient-py` over `requests`: does not reconnect, so its user opens the stream again."""

import sys

import requests
import sseclient

from taken import Taken, pause

url = sys.argv[1]
taken = Taken()
while not taken.ended:
    try:
        headers = {"Accept": "text/event-stream", **taken.headers}
        with requests.get(url, stream=True, headers=headers, timeout=(10, 60)) as response:
            response.raise_for_status()
            for event in sseclient.SSEClient(response).events():
                if not taken.take(event.data) or taken.ended:
                    break
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        pass
    if not taken.ended:
        pause()
taken.sum()
