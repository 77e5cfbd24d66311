"""Says what `make demo` has done, from what the target has written down about it."""

import json
import sys
from pathlib import Path

report, rejects = Path(sys.argv[1]), Path(sys.argv[2])

for stream, counts in json.loads(report.read_text())["streams"].items():
    print(f"Stream '{stream}': {counts['read']} records read.")
    print(
        f"  {counts['accepted']} contacts are in: {counts['inserted']} inserted, "
        f"{counts['updated']} updated."
    )
    if counts["unchanged"]:
        print(f"  {counts['unchanged']} contacts were in already and had not changed.")
    print(f"  {counts['rejected']} records could not become contacts; they are in {rejects}:")

for line in rejects.read_text().splitlines():
    message = json.loads(line)
    if message["type"] == "RECORD":
        print(f"    {message['record']['customer_no']}: {message['rejection']['reason']}")
