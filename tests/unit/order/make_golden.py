# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Writes golden.txt to stdout: questions from one seed, answered by the second implementation.

    /usr/bin/python3 tests/unit/order/make_golden.py > tests/unit/order/golden.txt
"""
from answers import answer, questions

EDGES = [
    "perm 1 0 0", "perm 2 7 1", "perm 64 7 63", "perm 65 7 64", "perm 18446744073709551615 7 0",
    "perm 9223372036854775809 7 9223372036854775808",
    "order block 7 3 64 4 0 240 100 100 37", "order full 7 3 0 1 0 240 100 100 37",
    "order none 7 3 0 1 230 20 100 100 37", "order block 7 3 64 300 0 300 100 100 37",
    "order block 7 3 5 2 0 30 0 0 7 0 3 0 9 0", "substitutes block 7 3 64 300 230 30 100 100 37",
    "substitutes full 7 3 0 1 230 20 100 100 37", "substitutes block 7 3 8 4 0 12 10",
    "pass 10 0 4 4 drop 3 0 0", "pass 10 9 2 2 drop 3 0 0", "pass 10 3 4 3 pad 3 0 2",
    "pass 10 3 2 3 short 3 1 2", "pass 18446744073709551615 0 4294967296 4294967296 short 0 0 0",
    "pass 18446744073709551615 0 2 1 pad 0 0 0", "pass 18446744073709551615 0 5 3 pad 0 0 2",
]

print("# Questions of answers.py and their answers, written by make_golden.py.")
for question in EDGES + questions("golden", 700):
    print(question, "=>", answer(question))
