# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The order a second time, written from proto/order.md alone: which sample comes where, what its
transforms draw, substitutes, passes and tokens. The tests hold the C code against this.

Every function is pure. Numbers are Python integers cut to 64 bits where the page says mod 2^64.
"""
import json
import math
import re
import struct

MASK = 2**64 - 1
SHARDS, SAMPLES, WINDOW, DRAW, SUBSTITUTE, MIX, BATCH = range(1, 8)
ATTEMPTS = 8
VERSION = 1


class Refused(ValueError):
    """An order, a pass or a feed that proto/order.md refuses by name."""


class TokenError(ValueError):
    """kind: 'malformed' or 'version'."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


# --- XXH64, as its specification has it ---

P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _rotate(x, n):
    return ((x << n) | (x >> (64 - n))) & MASK


def _lane(acc, value):
    return _rotate((acc + value * P2) & MASK, 31) * P1 & MASK


def xxh64(data, seed=0):
    n, at = len(data), 0
    if n >= 32:
        lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed & MASK, (seed - P1) & MASK]
        while n - at >= 32:
            values = struct.unpack_from("<4Q", data, at)
            lanes = [_lane(lane, value) for lane, value in zip(lanes, values)]
            at += 32
        h = sum(_rotate(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            h = ((h ^ _lane(0, lane)) * P1 + P4) & MASK
    else:
        h = (seed + P5) & MASK
    h = (h + n) & MASK
    while n - at >= 8:
        h = (_rotate(h ^ _lane(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if n - at >= 4:
        h = (_rotate(h ^ struct.unpack_from("<I", data, at)[0] * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    while at < n:
        h = _rotate(h ^ data[at] * P5 & MASK, 11) * P1 & MASK
        at += 1
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def hash_text(text):
    return xxh64(text.encode())


# --- keys and draws ---

def key(seed, epoch, stream, *rest):
    values = (1, seed, epoch, stream) + rest
    return xxh64(struct.pack("<%dQ" % len(values), *values))


def draw(seed, epoch, t, field, path, n):
    """Draw n of the transform at `path` ("2", "3/0") of `field`, for position t."""
    return key(seed, epoch, DRAW, t, hash_text(field), hash_text(path), n)


def unit(u):
    return (u >> 11) * 2.0**-53


def uniform(u, a, b):
    return a + (b - a) * unit(u)


def below(u, m):
    return u * m >> 64


def event(u, p):
    return unit(u) < p


def log_uniform(u, a, b):
    r, result = b / a, a
    for k in range(1, 33):
        r = math.sqrt(r)
        if u >> (64 - k) & 1:
            result = result * r
    return result


def random_resized_crop(seed, epoch, t, field, path, height, width,
                        scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """(top, left, height, width) of the crop of an image of height x width."""
    def number(n):
        return draw(seed, epoch, t, field, path, n)

    def placed(h, w):
        return below(number(20), height - h + 1), below(number(21), width - w + 1), h, w

    for k in range(10):
        area = height * width * uniform(number(2 * k), *scale)
        aspect = log_uniform(number(2 * k + 1), *ratio)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return placed(h, w)
    h, w = height, width
    if width / height < min(ratio):
        h = round(width / min(ratio))
    elif width / height > max(ratio):
        w = round(height * max(ratio))
    return (height - h) // 2, (width - w) // 2, h, w


def random_crop(seed, epoch, t, field, path, height, width, crop_height, crop_width):
    """(top, left) in the image of height x width, its padding included; None: it is too small."""
    if height < crop_height or width < crop_width:
        return None
    return (below(draw(seed, epoch, t, field, path, 0), height - crop_height + 1),
            below(draw(seed, epoch, t, field, path, 1), width - crop_width + 1))


def random_flip(seed, epoch, t, field, path, p=0.5):
    """Whether random_horizontal_flip (or vertical) flips."""
    return event(draw(seed, epoch, t, field, path, 0), p)


# --- the bijection ---

def mix64(z):
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & MASK
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def perm(n, k, x):
    if n == 1:
        return 0
    bits = max(6, (n - 1).bit_length())
    half = bits // 2
    low, high = (1 << half) - 1, (1 << (bits - half)) - 1
    round_keys = [mix64((k + i * 0x9E3779B97F4A7C15) & MASK) for i in range(8)]
    while True:
        a, b = x >> half, x & low
        for i, round_key in enumerate(round_keys):
            if i % 2 == 0:
                a ^= mix64(b ^ round_key) & high
            else:
                b ^= mix64(a ^ round_key) & low
        x = (a << half) + b
        if x < n:
            return x


# --- position -> sample ---

def _part_length(n, parts, p):
    return n // parts + (1 if p < n % parts else 0)


class Order:
    """One epoch of one feed. shards: the number of samples of each, in listed order. source: which
    one of a mix this is; epoch is then its pass."""

    def __init__(self, shards, shuffle, seed, epoch, window=0, parts=1, source=0):
        self.shards, self.shuffle, self.seed, self.epoch = list(shards), shuffle, seed, epoch
        self.window, self.parts, self.n, self.source = window, parts, sum(shards), source
        if self.n == 0 or parts == 0 or (shuffle == "block" and window == 0):
            raise Refused("no samples, no parts or an empty window")
        if shuffle != "block" and (window, parts) != (0, 1):
            raise Refused("window and parts belong to block")
        if shuffle == "block":
            k = self.key(SHARDS)
            self.laid = [perm(len(self.shards), k, x) for x in range(len(self.shards))]

    def key(self, stream, *rest):
        return key(self.seed, self.epoch, stream + 16 * self.source, *rest)

    def locate(self, number):
        """(shard, sample in it) of a sample's number in listed order."""
        for shard, n_here in enumerate(self.shards):
            if number < n_here:
                return shard, number
            number -= n_here
        raise IndexError

    def part_length(self, p):
        return _part_length(self.n, self.parts, p)

    def own_position(self, t):
        if t < self.n:
            return t
        return t % (self.parts * (self.n // self.parts) if self.n >= self.parts else self.n)

    def sample(self, t):
        """The number of the sample at position t; t >= N is pad's."""
        t = self.own_position(t)
        return self.element(t % self.parts, t // self.parts)

    def element(self, p, i):
        """The number of the sample that is element i of part p."""
        if self.shuffle == "none":
            return i
        if self.shuffle == "full":
            return perm(self.n, self.key(SAMPLES), i)
        w = i // self.window
        m = min(self.window, self.part_length(p) - w * self.window)
        element = w * self.window + perm(m, self.key(WINDOW, p, w), i - w * self.window)
        at = p * (self.n // self.parts) + min(p, self.n % self.parts) + element
        for shard in self.laid:
            if at < self.shards[shard]:
                return sum(self.shards[:shard]) + at
            at -= self.shards[shard]
        raise IndexError

    def substitute(self, t, attempt):
        p = self.own_position(t) % self.parts
        e = key(self.seed, self.epoch, SUBSTITUTE, t, attempt) % self.part_length(p)
        return self.sample(e * self.parts + p)


# --- mixing sources by weight ---

BLOCK = 1024


def shares(weights):
    """m_x: whole parts of 1024, the missing ones to the largest fractions."""
    total = 0.0
    for w in weights:
        total += w
    quotas = [BLOCK * (w / total) for w in weights]
    given = [math.floor(q) for q in quotas]
    by_fraction = sorted(range(len(quotas)), key=lambda x: (-(quotas[x] - given[x]), x))
    for x in by_fraction[:BLOCK - sum(given)]:
        given[x] += 1
    return given


class Mix:
    """One epoch of a feed of several sources. sources: (weight, shards) each, shards as Order has
    them. Samples are numbered over all sources' shards in listed order."""

    def __init__(self, sources, until, shuffle, seed, epoch, window=0, parts=1):
        self.shards = [n for _, shards in sources for n in shards]
        self.seed, self.epoch, self.parts = seed, epoch, parts
        self.m = shares([weight for weight, _ in sources])
        self.totals = [sum(shards) for _, shards in sources]
        self.firsts = [sum(self.totals[:x]) for x in range(len(sources))]
        self._pass = lambda x, number: Order(sources[x][1], shuffle, seed, number & MASK, window,
                                             parts, x)
        self._passes = {}
        if parts == 0 or (shuffle == "block" and window == 0):
            raise Refused("no parts or an empty window")
        if shuffle != "block" and (window, parts) != (0, 1):
            raise Refused("window and parts belong to block")
        self.least = [n // parts for n in self.totals]
        if 0 in self.m or 0 in self.least:
            raise Refused("a source without a share, or with an empty part")
        if until == "first":
            self.blocks = min(n // m for n, m in zip(self.least, self.m))
        else:
            self.blocks = max(-(-_part_length(n, parts, 0) // m)
                              for n, m in zip(self.totals, self.m))
        if self.blocks == 0:
            raise Refused("a source that ends before one block is full")
        self.n = parts * BLOCK * self.blocks

    locate = Order.locate

    def own_position(self, t):
        return t % self.n

    def place(self, t):
        """(source, part, pass, element in it) of position t < N."""
        p, u = t % self.parts, t // self.parts
        q = u // BLOCK
        s = perm(BLOCK, key(self.seed, self.epoch, MIX, p, q), u % BLOCK)
        x = 0
        while s >= self.m[x]:
            s -= self.m[x]
            x += 1
        e = self.blocks * self.m[x]
        k = max(1, self.least[x] // e)
        j = self.epoch % k * e + q * self.m[x] + s
        length = _part_length(self.totals[x], self.parts, p)
        number = self.epoch // k * -(-e // self.least[x]) + j // length
        return x, p, number, j % length

    def element(self, x, p, number, i):
        if (x, number) not in self._passes:
            self._passes[x, number] = self._pass(x, number)
        return self.firsts[x] + self._passes[x, number].element(p, i)

    def sample(self, t):
        return self.element(*self.place(self.own_position(t)))

    def substitute(self, t, attempt):
        x, p, number, _ = self.place(self.own_position(t))
        i = (key(self.seed, self.epoch, SUBSTITUTE, t, attempt)
             % _part_length(self.totals[x], self.parts, p))
        return self.element(x, p, number, i)


# --- passes ---

class Pass:
    """A group's way through n positions from `start` on, `batch` positions a rank and step."""

    def __init__(self, n, start, batch, world, last):
        self.n, self.start, self.world, self.last = n, start, world, last
        self.size = batch * world
        if n == 0 or batch == 0 or world == 0 or start >= n or (last == "drop" and n < self.size):
            raise Refused("no samples, an empty batch, a start past the end, or no batch at all")
        if start + self.n_batches() * self.size > MASK:
            raise Refused("batches that end past the last position")

    def n_batches(self):
        rest = self.n - self.start
        return rest // self.size if self.last == "drop" else -(-rest // self.size)

    def positions(self, j, rank):
        """The positions of batch j of that rank, as a range."""
        first = self.start + j * self.size
        end = first + self.size
        if self.last == "short":
            end = min(end, self.n)
        return range(first + (rank - first) % self.world, end, self.world)

    def after(self, epoch, j):
        """(epoch, position) of the token once batch j was returned."""
        if j + 1 == self.n_batches():
            return (epoch + 1) & MASK, 0
        return epoch, self.start + (j + 1) * self.size


# --- tokens ---

def order_hash(shuffle, window, parts, until=None, given=()):
    """given: in a mix the shares of its sources."""
    words = [shuffle, window, parts] + ([until, *given] if until else [])
    return "%016x" % hash_text(" ".join(map(str, words)))


def _check(values):
    return "%016x" % hash_text("\n".join(str(value) for value in values))


def token_make(fingerprint, seed, epoch, position, order, bad, world=None):
    """order: order_hash()'s digits."""
    values = {"version": VERSION, "fingerprint": fingerprint, "seed": str(seed), "epoch": epoch,
              "position": position, "order": order}
    if world is not None:
        values["world"] = world
    values["bad"] = bad
    values["check"] = _check(values.values())
    for name in ("epoch", "position", "bad"):
        if values[name] >= 2**63:
            values[name] = str(values[name])
    return json.dumps(values, separators=(",", ":"))


def _object(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise TokenError("malformed", "a key stands twice")
    return dict(pairs)


def _whole(text):
    if not -2**63 <= int(text) < 2**63:
        raise TokenError("malformed", "an integer of more than 64 bits")
    return int(text)


def _real(text):
    if math.isinf(float(text)):
        raise TokenError("malformed", "past a double's range")
    return float(text)


def _constant(text):
    raise TokenError("malformed", text + " is no JSON")


def _check_texts(value):
    """No zero byte and no half of a surrogate pair, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_texts(name)
            _check_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner)
    elif isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise TokenError("malformed", "no text")


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _decimal(value):
    if not isinstance(value, str) or not re.fullmatch("0|[1-9][0-9]*", value) or int(value) > MASK:
        raise TokenError("malformed", "not a decimal string")
    return int(value)


def _number(value):
    if _is_integer(value):
        return value
    if _decimal(value) < 2**63:
        raise TokenError("malformed", "a string where a number belongs")
    return int(value)


def _hex(value, n):
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{%d}" % n, value):
        raise TokenError("malformed", "not %d hex digits" % n)
    return value


def token_parse(text):
    """The token as a dict with its numbers as integers; TokenError when it is none."""
    if len(text.encode()) > 512:
        raise TokenError("malformed", "too long")
    try:
        values = json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_float=_real, parse_constant=_constant)
    except (json.JSONDecodeError, RecursionError) as e:
        raise TokenError("malformed", str(e)) from e
    _check_texts(values)
    if not isinstance(values, dict) or not _is_integer(values.get("version")):
        raise TokenError("malformed", "no version")
    if values["version"] > VERSION:
        raise TokenError("version", "version %d" % values["version"])
    names = ["version", "fingerprint", "seed", "epoch", "position", "order", "bad", "check"]
    if values["version"] != VERSION or set(values) != set(names):
        raise TokenError("malformed", "not the keys of version 1")
    token = {"version": VERSION, "fingerprint": _hex(values["fingerprint"], 32),
             "seed": _decimal(values["seed"]), "epoch": _number(values["epoch"]),
             "position": _number(values["position"]), "order": _hex(values["order"], 16),
             "bad": _number(values["bad"])}
    if _hex(values["check"], 16) != _check(token.values()):
        raise TokenError("malformed", "the check is wrong")
    return token
