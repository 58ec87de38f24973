"""PyPI `retab`: jobs and endpoints of the dialect, asked by its own clients of two ages."""

import importlib.metadata
import json
import os
import sys
import tempfile
import time

from retab import Retab

base, key = sys.argv[1], sys.argv[2]
model = "retab-small"
version = importlib.metadata.version("retab")
# The base of later clients holds the version of the API.
later = version != "0.0.90"
client = Retab(api_key=key, base_url=f"{base}/v1" if later else base, max_retries=0)
text = "INVOICE\n\nSeller: Gustav Quantz\nTotal: 48151.62\n"
schema = {
    "type": "object",
    "properties": {"seller": {"type": "string"}, "total": {"type": "number"}},
    "required": ["seller", "total"],
}
folder = tempfile.mkdtemp()
path = os.path.join(folder, "invoice.txt")
with open(path, "w", encoding="utf-8") as file:
    file.write(text)
did = []


def request(more):
    from retab.utils.mime import prepare_mime_document

    document = prepare_mime_document(path)
    return {"document": document.model_dump(mode="json"), "model": model, **more}


def ended(job):
    """The job once it has ended, as a client of its age waits for it."""
    if later:
        return client.jobs.wait_for_completion(job.id, poll_interval_seconds=0.05, timeout_seconds=60)
    until = time.monotonic() + 60
    while job.status not in ("completed", "failed", "cancelled"):
        assert time.monotonic() < until, job
        time.sleep(0.05)
        job = client.jobs.retrieve(job.id)
    return job


def creates_and_waits():
    job = client.jobs.create(
        endpoint="/v1/documents/extract", request=request({"json_schema": schema}), metadata={"batch": "march"}
    )
    assert job.status in ("queued", "in_progress", "completed") and job.metadata == {"batch": "march"}, job
    assert job.expires_at == job.created_at + 7 * 86400, job
    done = ended(job)
    assert done.id == job.id and done.status == "completed" and done.response.status_code == 200, done
    parsed = done.response.body["choices"][0]["message"]["parsed"]
    assert parsed == {"seller": "Gustav Quantz", "total": 48151.62}, parsed
    did.append("create")
    did.append("wait_for_completion" if later else "poll")
    return done


def cancels_and_retries():
    """The model `scripted` does not answer before it is let to."""
    job = client.jobs.create(
        endpoint="/v1/documents/extract", request={**request({"json_schema": schema}), "model": "scripted"}
    )
    cancelled = client.jobs.cancel(job.id)
    assert cancelled.status == "cancelled" and cancelled.completed_at is not None, cancelled
    did.append("cancel")
    if later:
        again = client.jobs.retry(job.id)
        assert again.id == job.id and again.status in ("queued", "in_progress"), again
        assert client.jobs.cancel(job.id).status == "cancelled"
        did.append("retry")


def lists(done):
    page = client.jobs.list(limit=1)
    assert page.has_more and len(page.data) == 1, page
    rest = client.jobs.list(after=page.last_id, limit=10)
    assert done.id in [job.id for job in rest.data], rest
    completed = client.jobs.list(status="completed")
    assert [job.id for job in completed.data] == [done.id], completed
    if later:
        found = client.jobs.list(
            metadata={"batch": "march"},
            filename_contains="invoice",
            filename_regex="^inv",
            document_type=["text", "pdf"],
            endpoint="/v1/documents/extract",
            source="api",
            from_date="2020-01-01",
            order="asc",
            include_request=True,
            include_response=True,
        )
        assert [job.id for job in found.data] == [done.id], found
        assert found.data[0].response.status_code == 200
        assert client.jobs.list(metadata={"batch": "april"}).data == []
        full = client.jobs.retrieve_full(done.id)
        assert full.request["document"]["url"].startswith("data:text/plain"), full
        assert client.jobs.retrieve(done.id).response is None
    did.append("list")


def extracts():
    answer = client.documents.extract(json_schema=schema, model=model, document=path)
    message = answer.choices[0].message
    assert json.loads(message.content) == {"seller": "Gustav Quantz", "total": 48151.62}, answer
    parsed = message.parsed
    total = parsed["total"] if isinstance(parsed, dict) else parsed.total
    assert total == 48151.62 and 0 <= answer.likelihoods["total"] <= 1, answer
    did.append("extract")


def streams():
    seen = []
    with client.documents.extract_stream(json_schema=schema, model=model, document=path) as stream:
        for response in stream:
            seen.append(response.model_copy(deep=True))
    last = seen[-1]
    assert last.choices[0].finish_reason == "stop", last
    assert json.loads(last.choices[0].message.content) == {"seller": "Gustav Quantz", "total": 48151.62}, last
    assert 0 <= last.likelihoods["total"] <= 1, last
    did.append("stream")


def asks_the_other_endpoints():
    kinds = [
        {"name": "invoice", "description": "Seller and total"},
        {"name": "recipe", "description": "Flour and eggs"},
    ]
    parsed = client.documents.parse(document=path, model=model)
    assert len(parsed.pages) == 1 and "Gustav Quantz" in parsed.text, parsed
    told = client.documents.classify(document=path, categories=kinds, model=model)
    name = told.classification.category if later else told.result.classification
    assert name == "invoice", told
    name = "subdocuments" if later else "categories"
    split = client.documents.split(document=path, model=model, **{name: kinds})
    assert split.splits[0].pages == [1], split
    generated = client.schemas.generate(documents=[path], model=model)
    assert generated["type"] == "object" and generated["properties"], generated
    did.extend(["parse", "classify", "split", "generate"])
    if later:
        from retab.types.extractions import ExtractionRequest

        kept = client.extractions.create(ExtractionRequest(json_schema=schema, **request({})))
        assert kept.output == {"seller": "Gustav Quantz", "total": 48151.62}, kept
        assert "Gustav Quantz" in client.parses.create(document=path, model=model).output.text
        told = client.classifications.create(document=path, categories=kinds, model=model)
        assert told.output.category == "invoice", told
        split = client.splits.create(document=path, subdocuments=kinds, model=model)
        assert split.output[0].pages == [1], split
        did.extend(["extractions", "parses", "classifications", "splits"])


def is_told_what_is_wrong():
    for endpoint, word in [("/v1/edit/agent/fill", "/v1/documents/extract"), ("/v1/documents/extract", "json_schema")]:
        try:
            client.jobs.create(endpoint=endpoint, request=request({}))
        except Exception as error:
            assert word in str(error), error
            continue
        raise AssertionError(f"{endpoint} is taken")
    did.append("errors")


done = creates_and_waits()
cancels_and_retries()
lists(done)
extracts()
streams()
asks_the_other_endpoints()
is_told_what_is_wrong()
print(json.dumps({"version": version, "did": did}))
