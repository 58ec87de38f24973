"""PyPI `openai`: the stream iterator. It does not resume, so its user opens the stream again by GET."""

import sys
from urllib.parse import urlsplit

from openai import APIConnectionError, OpenAI, Stream

from taken import Taken, pause

url = urlsplit(sys.argv[1])
taken = Taken()
client = OpenAI(base_url=f"{url.scheme}://{url.netloc}", api_key="none")
while not taken.ended:
    try:
        # It asks for JSON where it is not told otherwise, streams included.
        options = {"headers": {"Accept": "text/event-stream", **taken.headers}}
        events = client.get(url.path, cast_to=object, stream=True, stream_cls=Stream[object], options=options)
        with events:
            for payload in events:
                if not taken.take(payload) or taken.ended:
                    break
    except APIConnectionError:
        pass
    if not taken.ended:
        pause()
taken.sum()
