"""The server of the benchmark is as strict as MainBrainer."""

import requests

from benchmarks.processes import server


def test_the_server_of_the_benchmark_counts_and_enforces_the_window() -> None:
    with server(burst=2) as crm:
        with requests.Session() as session:
            batch = f"{crm.url}/contacts/batch"
            answers = [session.post(batch, data=b"x" * 300_000, timeout=9) for _ in range(3)]
        seen = crm.seen()
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[0].json()["data"]["BatchId"] == "batch-1"
    assert (len(seen["batches"]), seen["refused"], seen["most"]) == (2, 1, 2)
    assert seen["body_bytes"] == 2 * 300_000
