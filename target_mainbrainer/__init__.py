"""A Singer target that upserts the records of any tap as contacts into the MainBrainer CRM.

```
target.py, sinks.py   the Singer side: settings, messages, STATE, signals; a sink per stream
run.py                one run, put together, and how it ends
singer/               Singer messages in: lines, JSON as taps write it, BATCH files
mapping/              record -> Contact | Rejection: pure, compiled once per stream
contact.py            Contact, identity, merge: pure
delivery/             batches in flight, order, isolation, confirmation, STATE, rejections, counts
api/                  MainBrainer's side: its JSON (wire), its endpoints (client), pacing, retries
settings.py           the settings' schema, and a frozen Settings made of it
errors.py, quiet.py   the error tree, and what must never be logged
sandbox/              a local MainBrainer; knows nothing of the rest
```

A record's way: `singer.reader` > `target` > `sinks` > `mapping.stream` > `delivery.buffer` >
`delivery.order` > `delivery.pipeline` (`delivery.isolation`) > `api.client` > `delivery.ledger`.
"""
