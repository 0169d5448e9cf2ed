# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Questions about the order and the second implementation's answers, one line of text each.

    key SEED EPOCH STREAM REST…            text TEXT          draw SEED EPOCH T FIELD PATH N
    real U A B: unit, uniform and log-uniform (the doubles' bits), event of probability A
    below U M                              perm N KEY X
    order SHUFFLE SEED EPOCH WINDOW PARTS FIRST COUNT SHARDS…: shard:sample of each position
    substitutes … (the same): with all attempts behind each
    pass N START BATCH WORLD LAST EPOCH J RANK: batches, (epoch, position) after batch J, its
        length, its first five positions and its last
    shares WEIGHT…: of 1024, for each source
    mix UNTIL SHUFFLE SEED EPOCH WINDOW PARTS FIRST COUNT SOURCES, each WEIGHT:SHARD,SHARD…: N and
        the sample's number at each position, with all substitutes behind it; or "refused"
    check SHUFFLE WINDOW PARTS N           parse TEXT
    token FINGERPRINT SEED EPOCH POSITION BAD SHUFFLE WINDOW PARTS [UNTIL SHARES…]
"""
import pathlib
import random
import re
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import order_twin as twin  # noqa: E402


def bits(value):
    return "%016x" % struct.unpack("<Q", struct.pack("<d", value))


def order(words, has_substitutes):
    shuffle = words[0]
    seed, epoch, window, parts, first, count, *shards = map(int, words[1:])
    o = twin.Order(shards, shuffle, seed, epoch, window, parts)
    said = []
    for t in range(first, first + count):
        text = "%d:%d" % o.locate(o.sample(t))
        if has_substitutes:
            text += "".join(",%d" % o.substitute(t, a) for a in range(1, twin.ATTEMPTS + 1))
        said.append(text)
    return " ".join(said)


def mix(words):
    until, shuffle = words[:2]
    seed, epoch, window, parts, first, count = map(int, words[2:8])
    sources = [(float(w), [int(n) for n in shards.split(",")])
               for w, shards in (word.split(":") for word in words[8:])]
    try:
        o = twin.Mix(sources, until, shuffle, seed, epoch, window, parts)
    except twin.Refused:
        return "refused"
    said = [str(o.n)]
    for t in range(first, first + count):
        numbers = [o.sample(t)] + [o.substitute(t, a) for a in range(1, twin.ATTEMPTS + 1)]
        said.append(",".join(map(str, numbers)))
    return " ".join(said)


def one_pass(words):
    n, start, batch, world, epoch, j, rank = map(int, words[:4] + words[5:])
    try:
        p = twin.Pass(n, start, batch, world, words[4])
    except twin.Refused:
        return "refused"
    n_batches = p.n_batches()
    if j >= n_batches:
        return str(n_batches)
    positions = p.positions(j, rank)
    n_positions = max(0, -(-(positions.stop - positions.start) // positions.step))
    said = [n_batches, *p.after(epoch, j), n_positions, *positions[:5]]
    if n_positions:
        said.append(positions[-1])
    return " ".join(map(str, said))


def check(words):
    window, parts, n = map(int, words[1:])
    try:
        twin.Order([n], words[0], 0, 0, window, parts)
    except twin.Refused:
        return "refused"
    return "ok"


def token(words):
    seed, epoch, position, bad = map(int, words[1:5])
    return twin.token_make(words[0], seed, epoch, position,
                           twin.order_hash(words[5], int(words[6]), int(words[7]),
                                           *([words[8], words[9:]] if words[8:] else [])), bad)


def parse(text):
    try:
        t = twin.token_parse(text)
    except twin.TokenError as e:
        return e.kind
    return " ".join(str(t[name])
                    for name in ("fingerprint", "seed", "epoch", "position", "order", "bad"))


def answer(question):
    verb, _, rest = question.partition(" ")
    words = rest.split(" ")
    if verb == "key":
        return "%016x" % twin.key(*map(int, words))
    if verb == "text":
        return "%016x" % twin.hash_text(rest)
    if verb == "draw":
        seed, epoch, t = map(int, words[:3])
        return "%016x" % twin.draw(seed, epoch, t, words[3], words[4], int(words[5]))
    if verb == "real":
        u, a, b = int(words[0]), float(words[1]), float(words[2])
        return "%s %s %s %d" % (bits(twin.unit(u)), bits(twin.uniform(u, a, b)),
                                bits(twin.log_uniform(u, a, b)), twin.event(u, a))
    if verb == "below":
        return str(twin.below(int(words[0]), int(words[1])))
    if verb == "perm":
        return str(twin.perm(int(words[0]), int(words[1]), int(words[2])))
    if verb in ("order", "substitutes"):
        return order(words, verb == "substitutes")
    if verb == "parse":
        return parse(rest)
    if verb == "shares":
        return " ".join(map(str, twin.shares([float(w) for w in words])))
    return {"mix": mix, "pass": one_pass, "check": check, "token": token}[verb](words)


# --- questions at random, from one seed ---

def any_u64(r):
    """Small, middling, and up to the edge of 64 bits."""
    return r.choice([r.randrange(4), r.randrange(5000), r.getrandbits(r.randrange(1, 65)),
                     twin.MASK - r.randrange(3), 2**r.randrange(64)])


def any_order(r):
    n_shards = r.choice([1, 1, 2, 3, 7, 40, 300])
    size = r.choice([1, 2, 10, 100, 1000, 10**6, 2**40])
    shards = [0 if r.random() < 0.2 else r.randrange(size + 1) for _ in range(n_shards)]
    if sum(shards) == 0:
        shards[r.randrange(n_shards)] = 1 + r.randrange(3)
    n = sum(shards)
    shuffle = r.choice(["none", "full", "block", "block", "block"])
    window, parts = 0, 1
    if shuffle == "block":
        window = max(1, r.choice([1, 2, 64, 4096, n - 1, n, n + 1, any_u64(r)]))
        parts = max(1, r.choice([1, 2, 3, 4, 64, n - 1, n, n + 1, 2 * n, any_u64(r)]))
    first = max(0, r.choice([0, r.randrange(n), n - 3, n, r.randrange(n, 3 * n)]))
    words = [shuffle, any_u64(r), any_u64(r), window, parts, first, r.randrange(1, 12), *shards]
    return " ".join(map(str, words))


def any_weight(r):
    return r.choice([1, 1, 2, 3, 0.5, 0.1, r.random() + 1e-6, r.uniform(0, 1e6) + 1e-6,
                     10.0**r.randrange(-6, 9)])


def any_shards(r):
    n_shards = r.choice([1, 1, 2, 3, 9])
    size = r.choice([3, 40, 300, 300, 3000, 3000, 10**5, 2**40])
    return [0 if r.random() < 0.1 else r.randrange(size + 1) for _ in range(n_shards)]


def any_mix(r):
    sources = [(any_weight(r), any_shards(r)) for _ in range(r.choice([1, 2, 2, 3, 3, 5, 12]))]
    if r.random() < 0.5:  # one that goes round and round
        sources[0] = (sources[0][0], [r.randrange(1, 40) for _ in range(r.randrange(1, 5))])
    shuffle = r.choice(["none", "full", "block", "block"])
    window, parts = (r.choice([1, 7, 64, 5000]), r.choice([1, 1, 2, 4, 7])) if shuffle == "block" else (0, 1)
    sizes = [sum(shards) for _, shards in sources]
    first = r.choice([0, r.randrange(5000), r.randrange(1 + 2 * 1024 * max(sizes)),
                      r.getrandbits(50)])
    words = [r.choice(["first", "all", "all"]), shuffle, any_u64(r), any_u64(r), window, parts, first,
             r.randrange(1, 12)]
    words += ["%r:%s" % (w, ",".join(map(str, shards))) for w, shards in sources]
    return "mix " + " ".join(map(str, words))


def any_pass(r):
    n = r.choice([1, 2, r.randrange(1, 60), r.randrange(1, 5000), max(1, any_u64(r))])
    start = r.choice([0, 0, r.randrange(n), n - 1, n, any_u64(r)])
    batch = r.choice([1, 2, 3, r.randrange(1, 70), r.randrange(1, 70), any_u64(r)])
    world = r.choice([1, 2, 3, 8, any_u64(r)])
    last = r.choice(["drop", "pad", "short"])
    n_batches = max(1, (n - start) // max(1, batch * world))
    j = r.choice([0, n_batches - 1, n_batches, r.randrange(n_batches)])
    rank = r.randrange(max(1, world))
    return "pass %d %d %d %d %s %d %d %d" % (n, start, batch, world, last, any_u64(r), j, rank)


def any_token(r):
    fingerprint = "%032x" % r.getrandbits(128)
    shuffle = r.choice(["none 0 1", "full 0 1", "block %d %d" % (any_u64(r), any_u64(r))])
    numbers = " ".join(str(any_u64(r)) for _ in range(4))
    if r.random() < 0.3:
        given = twin.shares([any_weight(r) for _ in range(r.choice([1, 2, 3, 40, 300]))])
        shuffle += " %s %s" % (r.choice(["first", "all"]), " ".join(map(str, given)))
    return "token %s %s %s" % (fingerprint, numbers, shuffle)


def damage(r, text):
    """A token edited, cut, respelt, or left as it is."""
    at = r.randrange(len(text))
    return r.choice([
        text, text.replace(",", " , ").replace(":", ": "), text[:at], text + "x", text + " " * 400,
        text[:at] + r.choice('0123456789abcdef"{},:- ') + text[at + 1:],
        text[:at] + r.choice('0123456789abcdef"{},:- ') + text[at:],
        text[:at] + text[at + 1:],
        text.replace('"version":1', '"version":' + r.choice(["0", "2", "17", "1.0", '"1"', "true"])),
        text.replace('"version":1,', r.choice(["", '"version":1,' * 2, '"x":1,"version":1,'])),
        text.replace('"bad":', r.choice(['"bad":-', '"bad":0', '"Bad":', '"world":2,"bad":'])),
        text.replace('"seed":"', '"seed":"0'), re.sub('"epoch":([0-9]+)', r'"epoch":"\1"', text),
        text.replace("a", "A"), "[" + text + "]",
        "{" + ",".join(reversed(text[1:-1].split(","))) + "}",
    ])


def any_question(r):
    verb = r.choice(["key", "text", "draw", "real", "below", "perm", "order", "order", "order",
                     "substitutes", "shares", "mix", "mix", "mix", "pass", "pass", "pass", "check", "token", "parse", "parse"])
    if verb in ("order", "substitutes"):
        return verb + " " + any_order(r)
    if verb == "mix":
        return any_mix(r)
    if verb == "shares":
        n = r.choice([1, 2, 3, 3, 7, 30])
        return "shares " + " ".join(repr(any_weight(r)) for _ in range(n))
    if verb == "pass":
        return any_pass(r)
    if verb == "token":
        return any_token(r)
    if verb == "parse":
        return "parse " + damage(r, answer(any_token(r)))
    if verb == "key":
        return "key " + " ".join(str(any_u64(r)) for _ in range(r.randrange(3, 8)))
    if verb == "text":
        return "text " + "".join(r.choice("abcdefgh/0123") for _ in range(r.randrange(1, 90)))
    if verb == "draw":
        return "draw %d %d %d %s %s %d" % (any_u64(r), any_u64(r), any_u64(r),
                                           r.choice(["image", "label", "mask_2"]),
                                           r.choice(["0", "2", "3/0"]), r.randrange(22))
    if verb == "real":
        a = r.uniform(0.01, 1)
        return "real %d %r %r" % (r.getrandbits(64), a, a + r.uniform(0, 3))
    if verb == "below":
        return "below %d %d" % (any_u64(r), max(1, any_u64(r)))
    if verb == "perm":
        n = max(1, any_u64(r))
        return "perm %d %d %d" % (n, any_u64(r), r.randrange(n))
    window, parts = r.choice([(0, 1), (0, 0), (1, 1), (0, 4), (64, 4), (64, 0)])
    return "check %s %d %d %d" % (r.choice(["none", "full", "block"]), window, parts,
                                  r.choice([0, 1, 10]))


def questions(seed, n):
    r = random.Random(seed)
    return [any_question(r) for _ in range(n)]
