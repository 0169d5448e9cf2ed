# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Programs that take turns on one core, and what CPU time each of them took.

All of a run is pinned to one core, so that nothing is measured beside something else; what is compared
is taken round by round, so that a machine whose speed drifts treats all alike.
"""
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
SETTLED = 0.08  # seconds without CPU time after which a program is at rest


class Failed(Exception):
    """A program could not do its part; the argument says why."""


def pin():
    """This process and all that it starts, to the last core it may use. Returns the core."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def has_flag(flag):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return flag in line.split()
    return False


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


class Program:
    """A program that answers each line on its stdin with lines on its stdout."""

    def __init__(self, command, environment=None):
        self.name = pathlib.Path(command[0]).name
        self.process = subprocess.Popen([str(c) for c in command], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})

    def tell(self, *lines):
        try:
            self.process.stdin.write("".join(f"{line}\n" for line in lines))
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.name} ended early") from None

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended early (exit code {self.process.wait()})")
        return line.rstrip("\n")

    def ask(self, *lines):
        self.tell(*lines)
        return self.hear()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def stat(pid):
    """Parent, and CPU ticks of the process and of the children it has waited for."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()
    return int(fields[1]), sum(int(x) for x in fields[11:15])


def tree(root):
    """A process and all its descendants: pid -> CPU ticks."""
    parents, ticks = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)], ticks[int(entry)] = stat(entry)
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, family = {}, [root]
    while family:
        pid = family.pop()
        found[pid] = ticks.get(pid, 0)
        family += [child for child, parent in parents.items() if parent == pid]
    return found


def tree_cpu_seconds(root):
    """User and system time of a process and all its descendants, dead ones that were waited for too."""
    return sum(tree(root).values()) / TICK


def kill_tree(process):
    """A Popen of ours with all its descendants."""
    for pid in tree(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def settled_cpu_seconds(root, patience=3.0):
    """The same, once the tree has come to rest: what it does ahead of time belongs to the turn before."""
    end, last = time.monotonic() + patience, tree_cpu_seconds(root)
    while time.monotonic() < end:
        time.sleep(SETTLED)
        now = tree_cpu_seconds(root)
        if now - last <= 1 / TICK:
            return now
        last = now
    return last


def in_turns(rounds, turns, told=lambda text: None):
    """turns: name -> function(round) giving a measurement. Every second round goes backwards. Returns
    name -> list of what they gave; a name that fails is dropped from then on, with its Failed in its place."""
    results, failed = {name: [] for name in turns}, {}
    for i in range(rounds):
        names = [name for name in turns if name not in failed]
        for name in names if i % 2 == 0 else reversed(names):
            try:
                results[name].append(turns[name](i))
            except Failed as why:
                failed[name] = why
                told(f"{name} failed: {why}")
        told(f"round {i + 1} of {rounds} done")
    return {**results, **failed}
