# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Reads every include line under src/ and fails on one that crosses a wall between rooms.

base includes libc (and libxxhash) only; a room includes base and itself; core, worker, serve, pack and main
see several rooms, in that order and never back; client sees base, proto and the public header.
"""
import pathlib
import re
import sys

PURE = {"config", "order", "shard", "io", "decode", "transform", "batch", "watch", "sandbox"}
MAY = {"base": {"base"}}
for room in PURE:
    MAY[room] = {"base", room}
MAY["core"] = MAY["base"] | PURE | {"core"}
MAY["worker"] = MAY["core"] | {"worker"}
MAY["serve"] = MAY["worker"] | {"serve", "proto"}
MAY["pack"] = MAY["worker"] | {"serve", "pack"}
MAY["main"] = MAY["serve"] | {"pack", "main", "ringfeed"}
MAY["client"] = {"base", "client", "proto", "ringfeed"}
PROTO = {"wire.h", "messages.def"}


def room_of(include):
    if include in PROTO:
        return "proto"
    head, slash, _ = include.partition("/")
    return head if slash else None


def main():
    root = pathlib.Path("src")
    faults, n = [], 0
    for path in sorted(root.rglob("*.[ch]")) + sorted(root.rglob("*.def")):
        room = path.relative_to(root).parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            n += 1
            other = room_of(match[1])
            if other is None or other not in MAY.get(room, set()):
                faults.append(f"{path}:{number}: {room} must not include {match[1]}")
    print("\n".join(faults) or f"{n} include lines, all within their rooms")
    return 1 if faults or n == 0 else 0


sys.exit(main())
