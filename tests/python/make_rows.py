# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Drives tests/unit/worker/make-rows, whose head says what it reads and answers."""
import dataclasses
import subprocess

import numpy

NUMPY = {name: numpy.dtype(name) for name in (
    "uint8", "int64", "float16", "float32", "int32", "int8", "int16", "uint16", "uint32", "uint64", "float64", "bool")}
NUMPY["bfloat16"] = numpy.dtype(numpy.uint16)
KINDS = ("image", "integer", "float", "json", "raw", "npy")  # enum decode_kind
CODES = ("done", "bad", "need_large", "changed")


@dataclasses.dataclass(frozen=True)
class Field:
    """One image field; steps as tuples."""
    height: int
    width: int
    steps: tuple
    dtype: str = "uint8"
    layout: str = "hwc"
    scale: str = "divide"
    pass_order: str = "pillow"
    exif: bool = False
    fast: bool = False

    @property
    def shape(self):
        return (3, self.height, self.width) if self.layout == "chw" else (self.height, self.width, 3)


@dataclasses.dataclass(frozen=True)
class Answer:
    code: str
    cause: str
    warnings: int
    detail: str
    row: numpy.ndarray


class Maker:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.field = None

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0, "make-rows failed"

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def ask(self, line):
        self.tell(line)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.endswith(b"\n"), f"make-rows died on: {line}"
        return answer[:-1].decode()

    def limits(self, max_pixels=178956970, max_scans=100, decode_memory=64 << 20, scratch=64 << 20):
        self.tell(f"limits {max_pixels} {max_scans} {decode_memory} {scratch}")

    def use(self, field):
        if field == self.field:
            return
        self.field = field
        self.tell(f"field {field.dtype} {field.layout} {field.scale} {field.pass_order} "
                  f"{int(field.exif)} {int(field.fast)} {field.height} {field.width}")
        for step in field.steps:
            self.tell("step " + " ".join(repr(x) if isinstance(x, float) else str(x) for x in step))

    def answer(self, line, dtype, shape):
        code, cause, warnings, n, detail = self.ask(line).split(" ", 4)
        row = self.process.stdout.read(int(n))
        assert len(row) == int(n)
        row = numpy.frombuffer(row, NUMPY[dtype]).reshape(shape) if row else None
        return Answer(CODES[int(code)], cause, int(warnings), detail, row)

    def run(self, field, path, seed=0, epoch=0, position=0, has_large=True):
        self.use(field)
        return self.answer(f"run {seed} {epoch} {position} {int(has_large)} {path}", field.dtype, field.shape)

    def draws(self, field, seed, epoch, position, width, height):
        self.use(field)
        return self.ask(f"draws {seed} {epoch} {position} {width} {height}")

    def size(self, field, path):
        self.use(field)
        cause, w, h = self.ask(f"size {path}").split()
        return cause, int(w), int(h)

    def value(self, kind, dtype, shape, path, key="-", has_large=True):
        self.field = None
        self.tell(f"value {KINDS.index(kind)} {dtype} {key} {' '.join(map(str, shape))}")
        return self.answer(f"run 0 0 0 {int(has_large)} {path}", dtype, shape)

    def integer(self, dtype, path):
        self.field = None
        self.tell(f"integer {dtype}")
        return self.answer(f"run 0 0 0 0 {path}", dtype, ())
