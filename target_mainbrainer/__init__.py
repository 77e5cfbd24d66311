"""A Singer target that upserts the records of any tap as contacts into the MainBrainer CRM.

```
__main__.py       starts the command
cli.py            the command: options, exit codes, ends in sentences
target.py         Singer messages, STATE, signals
sinks.py          ContactsSink: map the records of one stream
run.py            builds the parts of one run, and ends it
rounds/           what is sent of a round, and how it is booked
ledger/           what was delivered before, and the quota that runs share
report/           counts, rejects file, summary, dry run
api/              MainBrainer's JSON, endpoints, tokens, retries, rate limit
singer/           reader, JSON, BATCH files, the records as read, STATE
mapping/          columns, identifiers, consent, properties, schema checks   pure
settings/         the settings as declared, and their checks
contacts.py       Contact, Identity and merge, Rejection                     pure
privacy.py        redaction, log filters, explaining
errors.py         what can go wrong, and what happens next
words.py          names, lists and numbers in sentences                      pure
local_sandbox.py  starts a local MainBrainer, and ends it
```

Inner parts import nothing from outer ones, and there are no circles; `tests/test_house.py` fails
when a wall is broken.
"""
