# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Shard lists: braces against bash, globs against Python's, and what is refused. argv: probe-shard."""
import glob
import os
import pathlib
import random
import subprocess
import tempfile

import oracle

PATTERNS = ["a", "{000..127}", "x-{0..3}.tar", "{a,b}", "{a,b}{1..3}", "{a,{1..3},c}x", "{9..1}", "{1..10..2}", "{10..1..3}", "{1..10..-2}",
            "{001..10}", "{1..010}", "{-5..5}", "{-05..5}", "{5..-05}", "{a..e}", "{e..a..2}", "{A..C}", "{abc}", "{}", "a{}b", "{a}",
            "{{a,b}}", "{{a,b},{c,d}}", "{a,b}}", "x{a,,b}", "{,}y", "{a,b,}", "pre{1..2}mid{x,y}post", "{1..2}{3..4}{5..6}", "{a..3}", "{1..}",
            "{..2}", "{1...3}", "\\{a,b\\}", "{a\\,b,c}", "{0..0}", "{00..0}", "{1..3..0}", "{+1..3}", "{x,{y,{z,w}}}", "{{1..2},{3..4}}"]


def bash(pattern):
    out = subprocess.run(["bash", "-c", f"set -f; printf '%s\\0' ={pattern}"], capture_output=True, check=True).stdout
    return [word[1:] for word in out.decode().split("\0")[:-1]]  # "=" keeps bash from dropping empty words


def expand(*patterns):
    lines = oracle.probe("list", *patterns)
    if lines and lines[0].startswith("refused"):
        return lines[0][8:]
    return [oracle.unhex(l.split(" ")[1]).decode("utf-8", "surrogateescape") for l in lines]


def random_pattern(rng, depth=0):
    text = ""
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(5 if depth < 3 else 2)
        if kind < 2:
            text += rng.choice(("a", "b", "-", ".", "x1", "_"))
        elif kind == 2:
            text += "{%0*d..%d}" % (rng.randrange(1, 4), rng.randrange(-3, 12), rng.randrange(-3, 12))
        else:
            text += "{" + ",".join(random_pattern(rng, depth + 1) for _ in range(rng.randrange(2, 4))) + "}"
    return text


def check_braces():
    rng = random.Random(2)
    n = 0
    for pattern in PATTERNS + [p for p in (random_pattern(rng) for _ in range(600)) if len(p) < 50]:
        wanted = bash(pattern)
        got = expand(pattern)
        if "" in wanted:
            assert "empty" in got, (pattern, got)
        elif len(set(wanted)) < len(wanted):
            assert "twice" in got, (pattern, got)
        else:
            assert got == wanted, (pattern, got, wanted)
            n += 1
    assert n > 100
    print(f"{n} patterns expand as in bash")


def check_globs(folder):
    for name in ("b/2.tar", "b/10.tar", "a/1.tar", "a/é.tar", "a/z.tar", "a-b/0.tar", "a/1.tar.rfidx", "a/1.tar.rfidx.0123456789abcdef", "a/[x].tar"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for pattern in ("*/*.tar", "*/*", "b/?.tar", "b/[0-9]*.tar", "{b,a}/*.tar"):
        wanted = []
        for piece in bash(f"{folder}/{pattern}"):
            wanted += sorted((p for p in glob.glob(piece) if ".rfidx" not in p), key=os.fsencode)
        assert expand(f"{folder}/{pattern}") == wanted and wanted, (pattern, expand(f"{folder}/{pattern}"), wanted)
    assert expand(f"{folder}/a/\\[x\\].tar") == expand(f"{folder}/a/\\[x\\].t*") == [f"{folder}/a/[x].tar"]
    assert "no file matches" in expand(f"{folder}/*.none")
    assert "no file matches" in expand(f"{folder}/*/*.rfidx")
    assert expand(f"{folder}/b/*.tar::x.tar", "y.tar") == [f"{folder}/b/10.tar", f"{folder}/b/2.tar", "x.tar", "y.tar"]
    assert "twice" in expand(f"{folder}/a/*", f"{folder}/a/1.tar")


def check_refused():
    for pattern, part in (("pipe:cat x", "pipe"), ("http://a/b.tar", "URL"), ("s3://b/{0..9}.tar", "URL"), ("gs:x", "URL"), ("{x,https://y}", "URL"),
                          ("a::pipe:b", "pipe"), ("file:/x.tar", "URL"), ("hf://x", "URL"), ("", "empty"), ("a::", "empty"), ("::a", "empty"),
                          ("{a,b", "not closed"), ("a{1..3", "not closed"), ("{1..99999999}", "10000000"), ("{1..99999}{1..99999}", "10000000"),
                          ("{0..999999999999999999}" * 20, "10000000"), ("{a,b}" * 65, "braces"), ("{a," * 100 + "b" + "}" * 100, "braces"),
                          ("x" * 5000, "possible"), ("a::a", "twice"), ("{a,a}", "twice")):
        got = expand(pattern)
        assert isinstance(got, str) and part in got, (pattern[:80], got)
    assert "empty" in subprocess.run([oracle.PROBE, "list", ""], capture_output=True, text=True).stdout
    assert expand("C:x.tar") == ["C:x.tar"] and expand("a:b/c") == ["a:b/c"]


def main():
    check_braces()
    with tempfile.TemporaryDirectory() as name:
        check_globs(pathlib.Path(name))
    check_refused()


main()
