"""PyPI `standardwebhooks`: verifies messages as they came, and none that was changed on its way."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

messages = json.loads(sys.argv[1])
for message in messages:
    for secret in message["secrets"]:
        webhook = Webhook(secret)
        payload = webhook.verify(message["body"], message["headers"])
        assert payload["type"].startswith("job."), payload
        try:
            webhook.verify(message["body"].replace("job.", "jab."), message["headers"])
        except WebhookVerificationError:
            continue
        raise AssertionError("a message that was changed is taken")
print(len(messages))
