# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Asks the C code (the program named first) and the second implementation the same questions.

    compare.py ANSWERS [SEED [N]]: without a seed a new one each run; it is printed.
"""
import collections
import random
import subprocess
import sys

from answers import answer, questions, twin


def page():
    """The golden values of proto/order.md that belong to transforms: there is no C to ask here."""
    crop = twin.random_resized_crop(7, 3, 5, "image", "0", 375, 500)
    assert crop == (41, 245, 179, 202), crop


def main():
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.getrandbits(32)
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 4000
    page()
    asked = questions(seed, n)
    said = subprocess.run([program], input="\n".join(asked) + "\n", capture_output=True, text=True,
                          check=True).stdout.splitlines()
    assert len(said) == len(asked), (len(said), len(asked))
    n_wrong, kinds = 0, collections.Counter()
    for question, c in zip(asked, said):
        python = answer(question)
        outcome = " " + c if c in ("refused", "malformed", "version") else ""
        kinds[question.split(" ")[0] + outcome] += 1
        if c != python:
            n_wrong += 1
            print("question %s\n  C      %s\n  Python %s" % (question, c, python))
    print("seed %d: %d questions, %d wrong; %s" % (seed, n, n_wrong, dict(sorted(kinds.items()))))
    return 1 if n_wrong else 0


sys.exit(main())
