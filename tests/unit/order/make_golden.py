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
    "shares 1 1 1", "shares 3 1", "shares 0.7 0.2 0.1", "shares 1 1e9", "shares 5",
    "mix first full 7 3 0 1 0 60 3:700,800 1:600", "mix all full 7 3 0 1 3000 60 3:700,800 1:60",
    "mix first block 7 3 64 4 0 60 2:4000,100,90 1:3000 1:2500,1", "mix all none 7 3 0 1 990 60 1:3 1:600",
    "mix all block 7 3 8 4 4090 60 5:9,0,8 3:1000,20 1:300,1", "mix first full 7 3 0 1 0 9 1:100 1:600",
    "mix first block 7 3 64 8 0 9 1:7 1:6000", "mix all full 7 3 0 1 0 9 1:0,0 1:6000",
    "mix all full 7 3 0 1 0 9 1:50 1000000:6000", "mix first none 7 18446744073709551615 0 1 2040 9 1:5000 1:600",
    "pass 10 0 4 4 drop 3 0 0", "pass 10 9 2 2 drop 3 0 0", "pass 10 3 4 3 pad 3 0 2",
    "pass 10 3 2 3 short 3 1 2", "pass 18446744073709551615 0 4294967296 4294967296 short 0 0 0",
    "pass 18446744073709551615 0 2 1 pad 0 0 0", "pass 18446744073709551615 0 5 3 pad 0 0 2",
]

print("# Questions of answers.py and their answers, written by make_golden.py.")
for question in EDGES + questions("golden", 700):
    print(question, "=>", answer(question))
