# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Drives tests/unit/worker/make-rows, whose head says what it reads and answers."""
import dataclasses
import math
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

    def use(self, field, views=()):
        if (field, views) == self.field:
            return
        self.field = field, views
        self.tell(f"field {field.dtype} {field.layout} {field.scale} {field.pass_order} "
                  f"{int(field.exif)} {int(field.fast)} {field.height} {field.width}")
        self.tell_steps(field)
        for view in views:
            self.tell(f"view {view.dtype} {view.layout} {view.scale} {view.pass_order} {view.height} {view.width}")
            self.tell_steps(view)

    def tell_steps(self, field):
        for step in field.steps:
            self.tell("step " + " ".join(repr(x) if isinstance(x, float) else str(x) for x in step))

    def answers(self, line, kinds):
        """The answer once for each row; kinds: dtype and shape of each."""
        code, cause, warnings, n, detail = self.ask(line).split(" ", 4)
        bytes_ = self.process.stdout.read(int(n))
        assert len(bytes_) == int(n)
        answers, at = [], 0
        for dtype, shape in kinds:
            n_row = NUMPY[dtype].itemsize * math.prod(shape) if bytes_ else 0
            row = numpy.frombuffer(bytes_[at:at + n_row], NUMPY[dtype]).reshape(shape) if bytes_ else None
            answers.append(Answer(CODES[int(code)], cause, int(warnings), detail, row))
            at += n_row
        assert at == len(bytes_)
        return answers

    def answer(self, line, dtype, shape):
        return self.answers(line, [(dtype, shape)])[0]

    def run(self, field, path, seed=0, epoch=0, position=0, has_large=True):
        self.use(field)
        return self.answer(f"run {seed} {epoch} {position} {int(has_large)} 0 {path}", field.dtype, field.shape)

    def run_views(self, views, targets, path, seed=0, epoch=0, position=0, has_large=True):
        """One sample into a row for each target, a number of a view; views[0] is the feed itself."""
        self.use(views[0], tuple(views[1:]))
        numbers = ",".join(map(str, targets))
        return self.answers(f"run {seed} {epoch} {position} {int(has_large)} {numbers} {path}",
                            [(views[t].dtype, views[t].shape) for t in targets])

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
        return self.answer(f"run 0 0 0 {int(has_large)} 0 {path}", dtype, shape)

    def integers(self, dtypes, targets, path):
        self.field = None
        self.tell(f"integer {dtypes[0]}")
        for dtype in dtypes[1:]:
            self.tell(f"view {dtype} - - - 0 0")
        return self.answers(f"run 0 0 0 0 {','.join(map(str, targets))} {path}",
                            [(dtypes[t], ()) for t in targets])

    def integer(self, dtype, path):
        self.field = None
        self.tell(f"integer {dtype}")
        return self.answer(f"run 0 0 0 0 0 {path}", dtype, ())
