"""A Singer target that upserts the records of any tap as contacts into the MainBrainer CRM.

```
__main__.py     starts the command
cli.py          the command: options, exit codes, ends in sentences
target.py       Singer messages, STATE, signals
sinks.py        ContactsSink: map the records of one stream
run.py          builds the parts of one run, and ends it
checking.py     what `--check` finds
errors.py       what can go wrong, and what happens next
config/         the settings: limits, schema, checks, Settings
contacts/       Contact, Identity and merge, Rejection                     pure
mapping/        columns, identifiers, consent, properties, schema checks   pure
singer/         reader, JSON, BATCH files, the records as read
api/            MainBrainer's JSON, endpoints, tokens, retries, rate limit
delivery/       buffer, queue, workers, isolation, confirmation, STATE
ledger/         what was delivered before, and the quota that runs share
report/         counts, rejects file, summary, dry run
privacy/        redaction, log filters, explaining
```

Inner parts import nothing from outer ones, and there are no circles; `tests/test_house.py` fails
when a wall is broken.
"""
