# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Numbers and arrays against Python's own float, json and struct and NumPy's load and astype.

Runs under Debian's own Python; RINGFEED_MAKE_ROWS names the make-rows program.
"""
import io
import itertools
import json
import math
import os
import pathlib
import random
import warnings

import numpy
import pytest

import pixels_reference as reference
from make_rows import NUMPY

warnings.simplefilter("ignore")
DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
BFLOAT16_OVER = 255.5 * 2.0 ** 120  # half-way between the greatest and what would come next; floats below it stay
PLAIN = (*INTEGERS, "bool", "float16", "float32", "float64")


def rounded(value, dtype):
    """The bits of a double in a float dtype, or None where a finite one would become infinite."""
    with numpy.errstate(over="ignore"):
        got = (reference.bfloat16(numpy.array([value], numpy.float64).astype(numpy.float32)) if dtype == "bfloat16"
               else numpy.array([value], numpy.float64).astype(dtype))
    wide = (got.astype(numpy.uint32) << 16).view(numpy.float32) if dtype == "bfloat16" else got
    if dtype == "bfloat16" and BFLOAT16_OVER <= abs(value):
        return got if math.isinf(value) else None
    return None if math.isfinite(value) and not math.isfinite(wide[0]) else got


def same_number(row, wanted):
    row = row.reshape(1)
    if row.dtype.kind == "f" and numpy.isnan(wanted[0]):
        return numpy.isnan(row[0]) and numpy.signbit(row[0]) == numpy.signbit(wanted[0])
    return row.tobytes() == wanted.tobytes()


TEXTS = ("0", "-0", "1", "+1.5", "-1.5e3", ".5", "5.", ".", "", " ", " 2.5\n", "\t1\v\f\r", "1 2", "1e", "1e+", "1e5.0", "e5",
         "1_000", "1__0", "_1", "1_", "1_.5", "1._5", "1_0.2_5e1_0", "1e_5", "0x10", "1f", "1,5", "inf", "-Infinity",
         "+iNF", "infinit", "1e999", "-1e999", "1e-999", "65504", "65519.99999999999", "65520", "65536", "3.4028235e38",
         "3.4028235677973366e38", "3.4028235677973362e38", "3.39e38", "3.3961775292304601e38", "1e39", "1.7976931348623157e308",
         "1.7976931348623159e308", "5e-324", "2e-324", "6e-8", "2.98e-8", "2.9802322387695312e-08", "6.103515625e-05", "nann",
         "2.9802322387695316e-08", "0.1", "0.3333333333333333333333333", "1" * 400, "0." + "0" * 400 + "1e400", "--1", "+-1",
         "1.0.0", "1e5e5", "\x00", "1\x00", "0" * 990 + "7.25", "٣", "１", "None", "1j")


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats(maker, tmp_path, dtype):
    path, rng, n_bad = tmp_path / "x.flt", random.Random(1), 0
    texts = list(TEXTS)
    for _ in range(400):
        texts.append("".join(rng.choice("0123456789.eE+-_ ") for _ in range(rng.randint(1, 8))))
        texts.append(repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-9, 6)))
        # Half-way between two float16s, and a hair to each side: rounding twice would show.
        half = float(numpy.uint16(rng.randrange(0x7bff)).view(numpy.float16)) if rng.random() < 0.9 else 65504.0
        step = 2.0 ** (max(math.frexp(half)[1], -13) - 12) if half else 2.0 ** -25
        texts += [repr(half + step), repr(math.nextafter(half + step, 0)), repr(math.nextafter(half + step, 1e9))]
    for text in texts:
        path.write_bytes(text.encode())
        try:
            wanted = rounded(float(text.encode()), dtype)
        except ValueError:
            wanted = None
        if wanted is not None and math.isinf(float(text.encode())) and "inf" not in text.lower():
            wanted = None  # 1e999: infinite in Python, too large for us
        answer = maker.value("float", dtype, (), path)
        if wanted is None:
            assert (answer.code, answer.cause) == ("bad", "not_a_number"), text
            assert answer.detail.startswith('"') and answer.detail.isascii()
            n_bad += 1
        else:
            assert answer.code == "done" and same_number(answer.row, wanted), (text, answer)
    assert n_bad > 100
    for text, sign in (("nan", False), ("-NaN", True)):
        path.write_text(text)
        row = maker.value("float", "float64", (), path).row
        assert numpy.isnan(row) and numpy.signbit(row) == sign
    path.write_text("0" * 1001)
    assert maker.value("float", dtype, (), path).cause == "not_a_number"


DOCUMENT = {"a": {"b": [1, 2.5, [3, 4]], "": 5}, "list": [[1, 2, 3], [4, 5, 6]], "ragged": [[1, 2], [3]], "n": -7, "x": 0.1,
            "big": 2 ** 53 + 1, "most": 2 ** 63 - 1, "huge": 1e300, "s": "1", "t": True, "flags": [True, False], "z": None, "é": 3}


def fits(value, dtype):
    """What one JSON number becomes, or None."""
    if isinstance(value, bool):
        return numpy.array(value) if dtype == "bool" else None
    if not isinstance(value, (int, float)):
        return None
    if dtype in FLOATS:
        got = rounded(float(value), dtype)
        return None if got is None else got.reshape(())
    if isinstance(value, float) or dtype == "bool":
        return numpy.array(bool(value)) if dtype == "bool" and value in (0, 1) and isinstance(value, int) else None
    limits = numpy.iinfo(dtype)
    return numpy.array(value, dtype) if limits.min <= value <= limits.max else None


def pick(value, key):
    for word in key.split(".") if key != "-" else ():
        if isinstance(value, dict) and word in value:
            value = value[word]
        elif isinstance(value, list) and word.isdigit() and int(word) < len(value):
            value = value[int(word)]
        else:
            return None
    return value


def filled(value, shape, dtype):
    if not shape:
        return fits(value, dtype)
    if not isinstance(value, list) or len(value) != shape[0]:
        return None
    parts = [filled(v, shape[1:], dtype) for v in value]
    return None if any(p is None for p in parts) else numpy.stack(parts)


def test_json(maker, tmp_path):
    path, seen = tmp_path / "x.json", set()
    keys = ("-", "a", "a.b", "a.b.0", "a.b.1", "a.b.2", "a.b.2.1", "a.b.3", "a.b.x", "list", "list.1", "ragged", "n", "x", "big",
            "most", "huge", "s", "t", "flags", "z", "é", "missing", "n.0", "list.01")
    for indent in (None, 2):
        path.write_text(json.dumps(DOCUMENT, indent=indent))
        for key, dtype, shape in itertools.product(keys, (*INTEGERS, *FLOATS, "bool"), ((), (2,), (3,), (2, 3), (3, 2))):
            key = key.replace("list.01", "list.1")
            wanted = filled(pick(DOCUMENT, key), shape, dtype)
            answer = maker.value("json", dtype, shape, path, key)
            if wanted is None:
                assert (answer.code, answer.cause) == ("bad", "wrong_value"), (key, dtype, shape)
                assert answer.detail and answer.detail.isascii()
            else:
                assert answer.code == "done" and answer.row.tobytes() == wanted.tobytes(), (key, dtype, shape, answer)
            seen.add((wanted is None, bool(shape)))
    assert len(seen) == 4


@pytest.mark.parametrize("text", (b"", b"{", b"[1,]", b"{'a': 1}", b"1 2", b"\xff", b"[1", b"nul", b"01", b"+1", b"1e999",
                                  b"99999999999999999999999", b'"\xed\xa0\x80"', b"[" * 3000 + b"]" * 3000))
def test_no_json(maker, tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    answer = maker.value("json", "float64", (), path)
    assert (answer.code, answer.cause) == ("bad", "not_json") and answer.detail.startswith("line "), answer


def test_json_memory(maker, tmp_path):
    """A document that needs more than the scratch asks for the large one; more than decode_memory is bad."""
    path = tmp_path / "x.json"
    numbers = list(range(20000))
    path.write_text(json.dumps({"x": numbers}))
    maker.limits(decode_memory=16 << 20, scratch=64 << 10)
    assert maker.value("json", "int32", (20000,), path, "x", has_large=False).code == "need_large"
    answer = maker.value("json", "int32", (20000,), path, "x")
    assert answer.code == "done" and answer.row.tolist() == numbers
    maker.limits(decode_memory=1 << 20, scratch=64 << 10)
    assert maker.value("json", "int32", (20000,), path, "x").cause == "decode_memory"
    maker.limits()
    path.write_text('{"a": 1, "a": {"b": 2}, "a": {"b": 3, "b": 4}}')  # the last one counts
    assert maker.value("json", "int8", (), path, "a.b").row == json.loads(path.read_text())["a"]["b"] == 4


@pytest.mark.parametrize("dtype", NUMPY)
def test_raw(maker, tmp_path, dtype):
    path, rng = tmp_path / "x.bin", random.Random(2)
    for shape in ((), (1,), (7,), (2, 3), (2, 3, 4, 5)):
        n = math.prod(shape) * NUMPY[dtype].itemsize
        data = bytes(rng.randrange(2 if dtype == "bool" else 256) for _ in range(n))
        path.write_bytes(data)
        answer = maker.value("raw", dtype, shape, path)
        assert answer.code == "done" and answer.row.tobytes() == data
        for wrong in (b"", data[:-1], data + b"\0"):
            path.write_bytes(wrong)
            assert maker.value("raw", dtype, shape, path).cause == "wrong_length"
    if dtype == "bool":
        path.write_bytes(b"\1\2")
        assert maker.value("raw", dtype, (2,), path).cause == "wrong_value"


def saved(array, version=None):
    out = io.BytesIO()
    numpy.lib.format.write_array(out, array, version)
    return out.getvalue()


@pytest.mark.parametrize("dtype", PLAIN)
def test_npy(maker, tmp_path, dtype):
    path, rng = tmp_path / "x.npy", numpy.random.default_rng(3)
    for shape, version in itertools.product(((), (1,), (7,), (2, 3), (2, 3, 4, 5)), ((1, 0), (2, 0), (3, 0))):
        array = rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
        path.write_bytes(saved(array, version))
        answer = maker.value("npy", dtype, shape, path)
        assert answer.code == "done" and answer.row.tobytes() == array.tobytes(), (shape, version, answer)
        for other in PLAIN:
            if other != dtype:
                assert maker.value("npy", other, shape, path).cause == "wrong_array"
        assert maker.value("npy", dtype, (*shape, 1)[:4] if len(shape) < 4 else (2, 3, 4), path).cause == "wrong_array"
        for wrong in (saved(array, version)[:-1], saved(array, version) + b"\0"):
            path.write_bytes(wrong)
            assert maker.value("npy", dtype, shape, path).cause == "wrong_length"
        if array.itemsize > 1:
            path.write_bytes(saved(array.astype(array.dtype.newbyteorder(">")), version))
            assert maker.value("npy", dtype, shape, path).cause == "wrong_array"


def npy(header, data=b"\0" * 24, version=b"\1\0"):
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
HEADERS = (GOOD, GOOD.replace(", }", "}"), GOOD.replace("'", '"'), GOOD.replace("2, 3", "2L, 3L"), GOOD.replace(" ", ""),
           "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}   \n", GOOD.replace("(2, 3)", "(2, 3,)"))
BAD_HEADERS = ("", "{}", "{'descr': '<f4'}", GOOD[:-10], GOOD + "x", GOOD.replace("False", "0"), GOOD.replace("(2, 3)", "[2, 3]"),
               GOOD.replace("(2, 3)", "(2, -3)"), GOOD.replace("(2, 3)", "(6)"), GOOD.replace("(2, 3)", "(2 3)"),
               GOOD.replace("(2, 3)", "(99999999999999999999, 1)"), GOOD.replace("'shape'", "'shapes'"),
               GOOD.replace("}", "'x': 1}"), GOOD.replace("}", "'descr': '<f4'}"), GOOD.replace("<f4", "<f4\\x00"),
               GOOD.replace("(2, 3)", "(" + "1, " * 40 + ")"), GOOD.replace("'<f4'", "[('a', '<f4')"), "None", "[1]")


def test_npy_headers(maker, tmp_path):
    path = tmp_path / "x.npy"
    for header in HEADERS:
        path.write_bytes(npy(header))
        assert maker.value("npy", "float32", (2, 3), path).code == "done", header
    for header in BAD_HEADERS:
        path.write_bytes(npy(header))
        assert maker.value("npy", "float32", (2, 3), path).cause == "not_npy", header
    whole = npy(GOOD)
    for wrong in (b"", whole[:5], whole[:9], whole[:30], b"\x93NUMPX" + whole[6:], npy(GOOD, version=b"\4\0"),
                  npy(GOOD, version=b"\1\1"), npy(GOOD, version=b"\0\0"), whole[:8] + b"\xff\xff" + whole[10:]):
        path.write_bytes(wrong)
        assert maker.value("npy", "float32", (2, 3), path).cause == "not_npy", wrong
    for descr, cause in (("'|O'", "object_array"), ("'O'", "wrong_array"), ("'<c8'", "wrong_array"), ("'=f4'", "wrong_array"),
                         ("[('a', '<f4'), ('b', '|O', (2,))]", "wrong_array"), ("'|S4'", "wrong_array")):
        path.write_bytes(npy(GOOD.replace("'<f4'", descr)))
        assert maker.value("npy", "float32", (2, 3), path).cause == cause, descr


def test_npy_files(maker):
    """Every file of the test data: equal to numpy.load's array, or refused for what it is."""
    seen = set()
    for path in sorted((DATA / "npy").rglob("*.npy")):
        try:
            array = numpy.load(path)
        except ValueError:  # objects: only with allow_pickle
            wanted = "object_array"
            array = numpy.zeros(1)
        else:
            wanted = ("done" if array.dtype.name in PLAIN and array.dtype.byteorder != ">" and array.ndim <= 4 and (
                array.flags.c_contiguous or array.ndim < 2) else "wrong_array")
        dtype = array.dtype.name if array.dtype.name in PLAIN else "float32"
        answer = maker.value("npy", dtype, array.shape[:4], path)
        assert wanted == (answer.cause if answer.code == "bad" else answer.code), (path, answer)
        if wanted == "done":
            assert answer.row.tobytes() == array.tobytes(), path
        seen.add(wanted)
    assert seen == {"done", "wrong_array", "object_array"}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
