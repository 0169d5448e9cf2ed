# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The token's codec beside the second implementation (tests/python/order_twin.py): the same texts are taken, with the same
values, and the same refused, for the same reason.

Usage: token_twin.py ANSWERS PROBE [--seed N] [--changes N] [FOLDER]...: texts are the fuzzer's seeds and what is in the folders
(what libFuzzer learned), as they are and changed; most changes get the check that their values should have. A seed of its
own each run without --seed; it is printed.
"""
import argparse
import collections
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

import seeds

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
import order_twin as twin  # noqa: E402

TEXT_MAX = 4096  # of token-answers.c
NUMBERS = [0, 1, 2, 10, 512, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
SPELLINGS = ["-0", "-1", "00", "01", "+1", "1.0", "1e2", "1E400", "0x1", "1_0", str(2**63), str(2**64), "1" * 40, "null", "true",
             "false", "NaN", "Infinity", "[]", "{}", "[1]", '""', '"0"', '"00"', '"-1"', '" 1"', '"1\\n"', '"\\u0031"', '"\u0661"',
             '"\\ud800"', '"\\u0000"', '"' + str(2**63 - 1) + '"', '"' + str(2**63) + '"', '"' + str(2**64) + '"']
PIECES = [b",", b":", b'"', b"{", b"}", b"\\", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x80\xa8", b" ", b"\t", b"\n", b"\r",
          b"\x0b", b"\xc2\xa0", b"\xef\xbb\xbf", b"0", b"A", b"/**/", b"//", b'"world":2,', b'"x":[{"a":1,"a":2}],', b'"bad":0,',
          b"[" * 40, b" " * 300]


def fix_check(raw):
    """With the check that the values should have, where they can be read as a token's."""
    values = []
    for name in ("version", "fingerprint", "seed", "epoch", "position", "order", "bad"):
        found = re.search(rb'"%s"\s*:\s*"?([0-9a-f]*)' % name.encode(), raw)
        if not found:
            return raw
        values.append(found[1].decode())
    return re.sub(rb'("check"\s*:\s*")[0-9a-f]{16}', rb"\g<1>" + ("%016x" % twin.hash_text("\n".join(values))).encode(), raw)


def change(raw, r):
    """One to three edits: of bytes, pieces, values and their spelling, keys, their order."""
    for _ in range(r.choice([1, 1, 2, 3])):
        at, end = sorted(r.choices(range(len(raw) + 1), k=2))
        kind = r.randrange(8)
        if kind == 0:
            raw = raw[:at] + bytes([r.randrange(256)]) + raw[at + 1:]
        elif kind == 1:
            raw = raw[:at] + r.choice(PIECES) + raw[at:]
        elif kind == 2:
            raw = raw[:at] + (raw[min(end, at + 8):] if r.random() < 0.9 else b"")
        elif kind == 3:
            values = list(re.finditer(rb':\s*("[^"]*"|[^,}]*)', raw))
            if values:
                value = r.choice(values)
                new = r.choice(SPELLINGS) if r.random() < 0.7 else r.choice(['%d', '"%d"']) % r.choice(NUMBERS)
                raw = raw[:value.start(1)] + new.encode() + raw[value.end(1):]
        elif kind == 4:
            keys = list(re.finditer(rb'"([a-z]+)"\s*:', raw))
            if keys:
                name = r.choice(keys)
                new = r.choice([b"Bad", b"bad", b"seed", b"world", b"\\u0062ad", b"version", b"", name[1] + b" "])
                raw = raw[:name.start(1)] + new + raw[name.end(1):]
        elif kind == 5:
            parts = raw.strip(b"{}").split(b",")
            r.shuffle(parts)
            raw = b"{" + b",".join(parts) + b"}"
        elif kind == 6:
            space = r.choice([b" ", b"\n", b"\t \r\n", b""])
            raw = raw.replace(b",", space + b"," + space).replace(b":", b":" + space)
        else:
            raw = raw.replace(b'"version":1', b'"version":' + str(r.choice([0, 2, 7, 2**63 - 1, 2**63, -2, "1.0"])).encode())
    return raw


def answer(raw):
    """What the second implementation says of a text that ends at its first zero."""
    raw = raw.split(b"\0")[0]
    try:
        t = twin.token_parse(raw.decode())
    except UnicodeDecodeError:
        return "malformed"
    except twin.TokenError as e:
        return e.kind
    return " ".join(str(t[name]) for name in ("fingerprint", "seed", "epoch", "position", "order", "bad"))


def gather(probe, folders):
    with tempfile.TemporaryDirectory() as made:
        paths, _ = seeds.gather("token", pathlib.Path(made), probe)
        files = [f for p in [*paths, *folders] for f in ([p] if p.is_file() else sorted(p.rglob("*"))) if f.is_file()]
        return [f.read_bytes() for f in files]


def grow(originals, n, r):
    """Them, and n changed ones, mostly of whole tokens."""
    whole = [text for text in originals if answer(text) not in ("malformed", "version")]
    texts = list(originals)
    for _ in range(n):
        changed = change(r.choice(whole if r.random() < 0.7 else originals), r)
        texts.append(fix_check(changed) if r.random() < 0.8 else changed)
    return [text for text in texts if len(text) <= TEXT_MAX]


def main():
    take = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take.add_argument("answers", type=pathlib.Path)
    take.add_argument("probe", type=pathlib.Path)
    take.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER")
    take.add_argument("--seed", type=int, default=random.getrandbits(32))
    take.add_argument("--changes", type=int, default=20000)
    words = take.parse_intermixed_args()
    r = random.Random(words.seed)
    texts = grow(gather(words.probe, words.folders), words.changes, r)
    said = subprocess.run([words.answers], input=b"".join(struct.pack("<I", len(t)) + t for t in texts), stdout=subprocess.PIPE,
                          check=True).stdout.decode().splitlines()
    assert len(said) == len(texts), (len(said), len(texts))
    kinds, n_wrong = collections.Counter(), 0
    for text, c in zip(texts, said):
        kinds[c if c in ("malformed", "version") else "taken"] += 1
        if c != (python := answer(text)):
            n_wrong += 1
            print(f"{text!r}\n  C      {c}\n  Python {python}")
    print(f"seed {words.seed}: {len(texts)} texts, {n_wrong} wrong; {dict(sorted(kinds.items()))}")
    assert words.changes < 1000 or min(kinds["taken"], kinds["version"]) > words.changes // 100, "the changes say nothing"
    sys.exit(1 if n_wrong else 0)


main()
