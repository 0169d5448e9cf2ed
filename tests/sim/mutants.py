#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Mutants of the core: does the simulator notice?

Every line of src/core/*.c that does something has mutants: one token, condition or statement is another one. From a
seed come lines, all with equal chance, and one mutant of each. A mutant is compiled as its file is in the build, linked
with everything else as it is there, and has to be caught: by the core's unit tests, or by the simulator on more and
more seeds. What does not compile, or makes the same object code, is none and is replaced by another. The core as it is
has to pass all of that first.

equivalent.txt beside this file names those that change nothing one could see, with the reason; an entry whose line is
no longer in the source is an error. Asserts are not mutated, nor is core_check, which is made of them: one that is weaker
catches less, and breaks nothing.

usage: mutants.py BUILD [--seed N] [--count N] [--jobs N] [--seeds N] [--only FILE] [--verbose] [--list]
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "src/core"
UNIT_TESTS = ROOT / "tests/unit/core"
STEPS = 2000
LEAST_CAUGHT = 0.95
WRAPPED = {"sim": ["-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free"],
           **{f"test-core-{name}": ["-Wl,--wrap=calloc,--wrap=free"] for name in ("forecast", "memory")}}  # as in the two meson.build

# ---- reading C ----

TOKEN = re.compile(
    r"""(?P<space>\s+|/\*.*?\*/|//[^\n]*)
      |(?P<directive>\#(?:\\\n|[^\n])*)
      |(?P<string>"(?:\\.|[^"\\])*")
      |(?P<char>'(?:\\.|[^'\\])*')
      |(?P<number>(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)[uUlL]*)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<mark><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)""",
    re.S | re.X)
SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&", "++": "--",
         "--": "++", "+=": "-=", "-=": "+=", "<<": ">>", ">>": "<<", "true": "false", "false": "true",
         "break": "continue", "continue": "break"}
BINARY = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "&": "|", "|": "&"}
KEYWORDS = {"if", "for", "while", "do", "switch", "case", "default", "else", "return", "goto", "static", "const", "struct",
            "enum", "union", "break", "continue", "sizeof"}


class Token:
    def __init__(self, kind, text, at):
        self.kind, self.text, self.at, self.end = kind, text, at, at + len(text)


class Mutant:
    """The text from `at` to `end` becomes `text`."""

    def __init__(self, source, at, end, text):
        self.source, self.at, self.end, self.text = source, at, end, text
        first, last = source.text.rfind("\n", 0, at) + 1, source.text.find("\n", end)
        self.line = source.text.count("\n", 0, at) + 1
        self.before = " ".join(source.text[first:last].split())
        self.after = " ".join((source.text[first:at] + text + source.text[end:last]).split())

    def apply(self):
        cut = self.source.text[self.at:self.end]
        return self.source.text[:self.at] + self.text + "\n" * cut.count("\n") + self.source.text[self.end:]

    def key(self):
        return self.source.name, self.before, self.after


class Source:
    def __init__(self, path):
        self.name, self.text = path.name, path.read_text()
        self.tokens = [Token(m.lastgroup, m.group(), m.start()) for m in TOKEN.finditer(self.text)
                       if m.lastgroup not in ("space", "directive")]
        self.partner, self.opener = {}, {}
        self.inside_assert = set()
        self.match()

    def match(self):
        stack = []
        for i, token in enumerate(self.tokens):
            if token.text in "([{" and token.kind == "mark":
                stack.append(i)
            elif token.text in ")]}" and token.kind == "mark":
                self.opener[i] = stack.pop()
                self.partner[self.opener[i]] = i
        assert not stack, self.name
        for i, token in enumerate(self.tokens[:-1]):
            if token.text == "assert" and self.tokens[i + 1].text == "(":
                self.inside_assert |= set(range(i, self.partner[i + 1] + 2))
        for head, first, last in self.functions():
            if any(t.text.startswith(("check_", "core_check")) for t in self.tokens[head:first]):
                self.inside_assert |= set(range(head, last + 1))

    def functions(self):
        """(how its head begins, first token of the body, last) of each."""
        head, i = 0, 0
        while i < len(self.tokens):
            if self.tokens[i].text == "{":
                if self.tokens[i - 1].text == ")":
                    yield head, i, self.partner[i]
                i = self.partner[i]
                if self.tokens[i - 1].text != ";" or self.tokens[min(i + 1, len(self.tokens) - 1)].text != ";":
                    head = i + 1
            elif self.tokens[i].text == ";":
                head = i + 1
            i += 1

    def mutants(self):
        for i, token in enumerate(self.tokens):
            if i in self.inside_assert:
                continue
            yield from self.mutate_token(i, token)
        for head, first, last in self.functions():
            is_void = [t.text for t in self.tokens[head:first] if t.text not in ("static", "inline")][:2][0:1] == ["void"] \
                and self.tokens[head + 1].text != "*"
            yield from self.mutate_statements(first, last, is_void)

    def is_binary(self, i):
        before, token, after = self.tokens[i - 1:i + 2]
        return before.end < token.at and token.end < after.at and (
            before.kind in ("name", "number", "char") and before.text not in KEYWORDS or before.text in ")]")

    def mutate_token(self, i, token):
        text = token.text
        if text in SWAPS and token.kind in ("mark", "name"):
            yield Mutant(self, token.at, token.end, SWAPS[text])
        elif token.kind == "mark" and text in BINARY and self.is_binary(i):
            yield Mutant(self, token.at, token.end, BINARY[text])
        elif text == "!":
            yield Mutant(self, token.at, token.end, "")
        elif token.kind == "number" and "." not in text:
            digits = text.rstrip("uUlL")
            suffix = text[len(digits):]
            value = int(digits, 0)
            yield Mutant(self, token.at, token.end, f"{value + 1}{suffix}")
            if value:
                yield Mutant(self, token.at, token.end, f"{value - 1}{suffix}")
        elif text in ("if", "while") and self.tokens[i + 1].text == "(":
            first, last = self.tokens[i + 1], self.tokens[self.partner[i + 1]]
            yield Mutant(self, first.at, last.end, f"(!{self.text[first.at:last.end]})")
        elif text == "return" and self.tokens[i + 1].text != ";":
            last = next(t for t in self.tokens[i:] if t.text == ";")
            value = self.text[token.end:last.at].strip()
            if value not in ("true", "false") and not value.isdigit():
                yield Mutant(self, token.at, last.at, f"return !({value})")

    def mutate_statements(self, first, last, is_void):
        """Statements dropped, and functions left before them."""
        blocks = [(first, last)] + [(i, self.partner[i]) for i in range(first + 1, last) if self.is_block(i)]
        for begin, end in blocks:
            i = begin + 1
            while i < end:
                if self.is_start(i, begin) and i not in self.inside_assert:
                    yield from self.mutate_statement(i, self.tokens[i], is_void, self.tokens[i - 1].text)
                i = self.partner.get(i, i) + 1  # over what lies inside of brackets

    def is_block(self, i):
        before = self.tokens[i - 1].text
        return self.tokens[i].text == "{" and (before in ("else", "do", ";", "{", "}", ":") or
                                               before == ")" and self.is_head(i - 1))

    def is_start(self, i, begin):
        before, token = self.tokens[i - 1], self.tokens[i]
        if token.kind == "mark" and token.text in "{};" or token.text in ("else", "case", "default"):
            return False
        if before.text == ":":
            return self.tokens[i - 2].text == "default" or self.tokens[i - 3].text == "case"
        return i == begin + 1 or before.text in ("}", ";", "else", "do") or before.text == ")" and self.is_head(i - 1)

    def is_head(self, i):
        """Is this the end of if (…), for (…), while (…)?"""
        return self.tokens[self.opener[i] - 1].text in ("if", "for", "while", "switch")

    def mutate_statement(self, i, token, is_void, before):
        if before in ("{", "}", ";") and token.text not in ("return", "break", "continue", "goto"):
            yield Mutant(self, token.at, token.at, "return; " if is_void else "return 0; ")
        is_plain = token.text not in KEYWORDS or token.text in ("break", "continue")
        if not is_plain and token.text != "return":
            return
        end = i
        while self.tokens[end].text != ";":
            end = self.partner.get(end, end) + 1
        if token.text == "return" and not is_void and before != ")":
            return  # nothing would be returned
        if self.tokens[i + 1].kind == "name" and token.text not in ("return",):
            return  # a declaration
        yield Mutant(self, token.at, self.tokens[end].at, "")


def all_mutants(only):
    lines = {}
    for path in sorted(CORE.glob("*.c")):
        if only and path.name not in only:
            continue
        for mutant in Source(path).mutants():
            lines.setdefault((path.name, mutant.line), []).append(mutant)
    return lines


# ---- those that change nothing ----

def read_equivalent(path, lines):
    """Entries of four parts: file, "- line", "+ mutated line", the reason on lines of its own; blank lines between."""
    known = {m.key() for ms in lines.values() for m in ms}
    equivalent, faults = {}, []
    for entry in re.split(r"\n\s*\n", path.read_text()):
        rows = [r for r in entry.splitlines() if r and not r.startswith("#")]
        if not rows:
            continue
        if len(rows) < 4 or not rows[1].startswith("- ") or not rows[2].startswith("+ "):
            faults.append(f"{rows[0]}: file, - line, + mutated line and a reason are wanted")
            continue
        key = rows[0].strip(), " ".join(rows[1][2:].split()), " ".join(rows[2][2:].split())
        if key not in known:
            faults.append(f"{key[0]}: no mutant any more: - {key[1]} + {key[2]}")
        equivalent[key] = " ".join(rows[3:])
    return equivalent, faults


# ---- building and running ----

class Build:
    def __init__(self, folder):
        self.folder = folder
        commands = json.loads((folder / "compile_commands.json").read_text())
        self.compile, self.bare = {}, {}
        for entry in commands:
            file = (folder / entry["file"]).resolve()
            if file.parent == CORE:
                self.compile[file.name] = entry["command"]
        self.objects = {name: folder / f"src/core/libcore.a.p/{name}.o" for name in self.compile}
        self.libraries = [str(folder / f"src/{room}/lib{room}.a") for room in ("order", "shard", "base")]
        self.programs = {"sim": sorted((folder / "tests/sim/sim.p").glob("*.o"))}
        for test in sorted(UNIT_TESTS.glob("test-*.c")):
            name = "test-core-" + test.stem[5:]
            self.programs[name] = sorted((folder / f"tests/unit/core/{name}.p").glob("*.o"))
        missing = [n for n, o in self.programs.items() if not o] + [str(o) for o in self.objects.values() if not o.exists()]
        if missing:
            sys.exit(f"mutants.py: {folder} is not built: {missing[0]}")

    def compile_mutant(self, mutant, folder):
        """The object file, or None: it does not compile."""
        source, target = folder / mutant.source.name, folder / "mutant.o"
        source.write_text(mutant.apply())
        command = shlex.split(self.compile[mutant.source.name])
        command = ["-w" if word == "-Werror" else word for word in command if not word.startswith("-M")]
        command = [word for i, word in enumerate(command) if i == 0 or command[i - 1] != "-MF"]
        command[command.index("-o") + 1] = str(target)
        command[command.index("-c") + 1] = str(source)
        command = [word for word in command if not word.endswith(".o.d")] + ["-g0"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True)
        return target if done.returncode == 0 else None

    def plain(self, source):
        """What the file compiles to as it is."""
        if source.name not in self.bare:
            with tempfile.TemporaryDirectory() as name:
                self.bare[source.name] = strip(self.compile_mutant(Mutant(source, 0, 0, ""), pathlib.Path(name)))
        return self.bare[source.name]

    def link(self, program, source, mutant, folder):
        objects = [str(o) for o in self.programs[program]]
        objects += [str(mutant if name == source else o) for name, o in self.objects.items()]
        target = folder / program
        subprocess.run(["cc", "-o", str(target), *objects, "-Wl,--start-group", *self.libraries, "-Wl,--end-group",
                        *WRAPPED.get(program, []), "-ljansson", "-lcmocka", "-lxxhash", "-lzstd", "-lz", "-ldeflate", "-lm"],
                       check=True, capture_output=True)
        return target


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fails(command, cpu_s):
    """Why it fails, or None. A mutant that hangs is caught by the time it may take."""
    def limited():
        limit()
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", preexec_fn=limited)
    if done.returncode == 0:
        return None
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip() and "replay with" not in line]
    if done.returncode in (-9, -24):
        return f"it takes longer than {cpu_s} s"
    shown = next((line for line in said if "FAILED" in line or line.startswith("seed ") or "ssert" in line), "")
    return shown or (said[-1] if said else f"exit code {done.returncode}")


def stages(n_seeds):
    """More and more seeds; most mutants do not survive the first."""
    first, last = 1, min(12, n_seeds)
    while first <= n_seeds:
        yield first, last
        first, last = last + 1, min(n_seeds, last * 5)


def caught_by(build, name, compiled, folder, n_seeds):
    """What the tests find where `compiled` stands for the source `name`, or None."""
    sim = build.link("sim", name, compiled, folder)
    for first, last in stages(n_seeds):
        why = fails([str(sim), "--seeds", f"{first}..{last}", "--steps", str(STEPS), "--partial"],
                    10 + (last - first + 1) // 4)
        if why:
            return f"seeds {first}..{last}: {why}"
        for program in build.programs if first == 1 else ():
            why = program != "sim" and fails([str(build.link(program, name, compiled, folder))], 20)
            if why:
                return f"{program}: {why}"
    return None


def judge(build, mutant, n_seeds):
    """(verdict, why)"""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        compiled = build.compile_mutant(mutant, folder)
        if not compiled:
            return "does not compile", ""
        if strip(compiled) == build.plain(mutant.source):
            return "same object code", ""
        why = caught_by(build, mutant.source.name, compiled, folder, n_seeds)
        return ("caught", why) if why else ("survived", "")


def fault_of_unchanged(build, n_seeds):
    """What the tests find in the core as it is: no mutant could be told from it then."""
    source = Source(CORE / "core.c")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        return caught_by(build, source.name, build.compile_mutant(Mutant(source, 0, 0, ""), folder), folder, n_seeds)


def strip(path):
    """What is in the object file but the name of its source."""
    subprocess.run(["objcopy", "--strip-all", "--remove-section=.comment", str(path), str(path) + ".bare"], check=True)
    return pathlib.Path(str(path) + ".bare").read_bytes()


# ---- one sample of them ----

def sample(lines, seed):
    """Endlessly, as far as there are any: a line, and of it a mutant."""
    chance = random.Random(seed)
    order = sorted(lines)
    chance.shuffle(order)
    for line in order:
        yield chance.choice(lines[line])


def describe(mutant):
    return f"{mutant.source.name}:{mutant.line}\n    - {mutant.before}\n    + {mutant.after}"


def run(build, args, lines, equivalent):
    counts = {"caught": 0, "survived": 0, "does not compile": 0, "same object code": 0, "equivalent": 0}
    survivors, source = [], sample(lines, args.seed)

    def one(mutant):
        if mutant.key() in equivalent:
            return mutant, ("equivalent", equivalent[mutant.key()])
        return mutant, judge(build, mutant, args.seeds)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        running, n_real = set(), 0
        while True:
            while n_real + len(running) < args.count:
                mutant = next(source, None)
                if mutant is None:
                    break
                running.add(pool.submit(one, mutant))
            if not running:
                break
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                mutant, (verdict, why) = future.result()
                counts[verdict] += 1
                n_real += verdict in ("caught", "survived", "equivalent")
                if verdict == "survived":
                    survivors.append(mutant)
                if args.verbose or verdict == "survived":
                    print(f"{verdict}: {describe(mutant)}\n      {why[:150]}", flush=True)
    return counts, survivors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="mutants that compile and change the object code")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1000, help="the simulator's, for a mutant that it does not catch before")
    parser.add_argument("--only", action="append", help="mutants of this file of src/core")
    parser.add_argument("--verbose", action="store_true", help="say of each what caught it")
    parser.add_argument("--list", action="store_true", help="print every mutant there is, and end")
    args = parser.parse_args()
    lines = all_mutants(args.only)
    if args.list:
        for line in sorted(lines):
            for mutant in lines[line]:
                print(describe(mutant))
        return 0
    equivalent, faults = read_equivalent(pathlib.Path(__file__).with_name("equivalent.txt"), all_mutants(None))
    for fault in faults:
        print(f"equivalent.txt: {fault}", file=sys.stderr)
    if faults:
        return 2
    began = time.monotonic()
    build = Build(args.build.resolve())
    fault = fault_of_unchanged(build, args.seeds)
    if fault:
        print(f"mutants.py: the core fails without a mutant: {fault}", file=sys.stderr)
        return 2
    counts, survivors = run(build, args, lines, equivalent)
    n_real = counts["caught"] + counts["survived"]
    print(f"seed {args.seed}, {len(lines)} lines: {counts['caught']} of {n_real} mutants caught, {len(survivors)} survived; "
          f"{counts['equivalent']} more are equivalent by equivalent.txt, {counts['same object code']} by their object "
          f"code, {counts['does not compile']} do not compile; {time.monotonic() - began:.0f} s")
    return 0 if counts["caught"] >= LEAST_CAUGHT * n_real else 1


if __name__ == "__main__":
    sys.exit(main())
