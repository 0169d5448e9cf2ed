# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Tables of measured figures, for the terminal and for Markdown, and the JSON beside them."""
import json
import pathlib


def figure(s, unit):
    """A summary with its spread: 0.83 (0.81-0.84)."""
    if s is None:
        return "-"
    if unit == "%":
        digits = 1 if 100 * s["median"] < 10 else 0
        return "{:.{d}f} % ({:.{d}f}-{:.{d}f})".format(*(100 * s[k] for k in ("median", "least", "most")), d=digits)
    digits = 0 if unit == "/s" else 2
    return "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(s["median"], s["least"], s["most"], d=digits)


def aligned(rows):
    """Columns as wide as they need to be, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))) for row in rows)


def markdown(rows):
    return "\n".join(["| " + " | ".join(rows[0]) + " |",
                      "|---" + "|---:" * (len(rows[0]) - 1) + "|"]
                     + ["| " + " | ".join(row) + " |" for row in rows[1:]])


def write_json(path, report):
    pathlib.Path(path).write_text(json.dumps(report, indent=1) + "\n")
