"""`python3 table.py LINES JSON MARKDOWN`: all objects of LINES as one array, and as a table. Decoding steps are given the share of
the copy bandwidth at which they read their weights."""

import json
import sys


def rows(path):
    for line in open(path):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        yield row if isinstance(row, dict) else {"stage": "output", "failed": line.strip()}


def share(row, bandwidth):
    if bandwidth and row.get("phase") == "decode" and "tok_s" in row:
        row["of_copy"] = row["tok_s"] / row["sequences"] * row["step_bytes"] / bandwidth
    return row


def text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(lines, array, markdown):
    found = list(rows(lines))
    bandwidth = next((row["bytes_s"] for row in found if row.get("stage") == "copy" and "bytes_s" in row), None)
    found = [share(row, bandwidth) for row in found]
    with open(array, "w") as out:
        json.dump(found, out, indent=1)
    with open(markdown, "w") as out:
        out.write("| stage | result |\n|---|---|\n")
        for row in found:
            result = ", ".join(f"{key} {text(value)}" for key, value in row.items() if key not in ("stage", "all"))
            out.write(f"| {row.get('stage', '?')} | {result} |\n")


main(*sys.argv[1:])
