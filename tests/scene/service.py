# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The systemd unit: systemd calls its exposure at most 1.5, and a working daemon makes no call that its filter refuses;
and where systemd is not the one that sets its limits, a daemon works under the same."""
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import ringfeed
import scene
from trace import rows

UNIT = scene.ROOT / "config/ringfeed.service.in"


def unit():
    return UNIT.read_text().replace("@bindir@", "/usr/bin")


def settings():
    """Of each key all its values, in order; an empty one takes back those before."""
    found = {}
    for line in unit().splitlines():
        if line and not line.startswith(("#", "[", ";")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def exposure(folder):
    path = folder / "ringfeed.service"
    path.write_text(unit())
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", path],
                          capture_output=True, text=True)
    last = said.stdout.strip().splitlines()[-1]
    print("  " + last)
    assert said.returncode == 0, said
    assert float(re.search(r": ([0-9.]+) ", last)[1]) <= 1.5
    # Only what is not on this machine may be wrong: the binary, its user, its pages.
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    other = [line for line in checked.stderr.splitlines() if not re.search(r"is not executable|Command 'man ", line)]
    assert not other, other


def keys(folder):
    has = settings()
    for key, value in {"Type": "notify", "ExecReload": "kill -HUP $MAINPID", "RuntimeDirectory": "ringfeed",
                       "LimitMEMLOCK": "infinity", "RestartPreventExitStatus": "78"}.items():
        assert has[key] == [value], key
    words = has["ExecStart"][0].split()
    assert words[0] == "/usr/bin/ringfeed" and words[1:3] == ["serve", "-c"]
    assert words[-2:] == ["--socket", "/run/ringfeed/ringfeed.sock"]


def members(name):
    """The calls of a group, groups inside it as well."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True)
    found = set()
    for line in said.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed_calls():
    """As systemd reads the lines: the first one allows, later ones add and, with ~, take away."""
    calls = members("@default")
    for line in settings()["SystemCallFilter"]:
        takes = line.startswith("~")
        for word in line.lstrip("~").split():
            named = members(word) if word.startswith("@") else {word}
            calls = calls - named if takes else calls | named
    return calls


def make(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:60], 30)
    (folder / "ledger").mkdir()
    more = {"ledger": str(folder / "ledger"), "index_cache": str(folder), "nice": 3, "cpus": "0", "workers": 2}
    if re.search(r"^ +(# )?metrics:", scene.ringfeed("help", "config").stdout, re.M):
        more["metrics"] = "127.0.0.1:0"
    return scene.write_config(folder, {"train": scene.feed(shards, size=10, dtype="uint8",
                                                           transform=[{"random_resized_crop": {"size": 64}}])},
                              memory="256MiB", **more)


def calls_made(folder, config, *options):
    """The system calls of a daemon without capabilities, as the unit starts it, from start to end, under a trainer, a question, a reload and a lost worker."""
    log = folder / "calls"
    rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    wrap = [*rights, "strace", "-f", "-qq", "-o", log, "-e", "signal=none"]
    with scene.Daemon(config, *options, wrap=wrap) as daemon:
        status = daemon.status()
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            for batch in loader:
                batch.release()
        os.kill(status["workers"][0]["pid"], signal.SIGKILL)
        time.sleep(0.5)
        daemon.status()
        os.kill(status["pid"], signal.SIGTERM)
        daemon.process.wait(20)
    return set(re.findall(r"^\d+ +([a-z_0-9]+)\(", log.read_text(), re.M)), status["engine"]


# The self-test tries it because nobody may.
TRIED = {"ptrace"}


def filtered(folder):
    if not shutil.which("strace"):
        print("  skipped: no strace (Debian's strace)")
        return
    calls = allowed_calls()
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create"} <= calls and "chown" not in calls
    config = make(folder)
    for options in ([], ["--set", "daemon.io=threads"]):
        made, engine = calls_made(folder, config, *options)
        made -= TRIED
        assert len(made) > 40 and made <= calls, sorted(made - calls)
        if engine == "uring":
            assert "io_uring_enter" in made
        print(f"  {engine}: {len(made)} different calls, all allowed")


# ---- the same limits where systemd is not the one that sets them ----

def rule(name, *compares):
    return {"names": [name], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": i, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value} for i, mask, value in compares]}


WRITE, EXEC, NAMESPACES = 2, 4, 0x7E020080


def profile_of_unit():
    """SystemCallFilter, MemoryDenyWriteExecute, RestrictAddressFamilies and RestrictNamespaces, for our own loader."""
    narrowed = {"mmap", "mprotect", "pkey_mprotect", "socket", "clone", "clone3", "unshare", "setns"}
    families = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
    rules = [{"names": sorted(allowed_calls() - narrowed), "action": "SCMP_ACT_ALLOW"},
             *(rule("mmap", (2, WRITE | EXEC, bits)) for bits in (0, WRITE, EXEC)),
             rule("mprotect", (2, EXEC, 0)),
             *(rule("socket", (0, 0xFFFFFFFF, families[name])) for name in settings()["RestrictAddressFamilies"][0].split()),
             rule("clone", (0, NAMESPACES & ~0x80, 0)),
             {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules}


def wrapping(folder, profile, writable):
    """The command line that sets the unit's limits, as far as this machine has what it takes, and what it lacks."""
    has, lacks, wrap = settings(), [], []

    def works(*command):
        return shutil.which(command[0]) and subprocess.run([*map(str, command), "true"], capture_output=True).returncode == 0
    mount = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'for f in $1; do mount --bind "$f" "$f" || exit 9; done; mount -o remount,bind,ro / || exit 9; shift; exec "$@"', "sh",
             " ".join(map(str, writable))]
    def limit(what, key):
        """As the unit sets it, or as much of it as we may."""
        wanted, hard = has[key][0], resource.getrlimit(what)[1]
        most = resource.RLIM_INFINITY if wanted == "infinity" else int(wanted)
        least = most if hard == resource.RLIM_INFINITY else hard if most == resource.RLIM_INFINITY else min(most, hard)
        return "unlimited" if least == resource.RLIM_INFINITY else str(least)
    limits = ["prlimit", f"--nofile={limit(resource.RLIMIT_NOFILE, 'LimitNOFILE')}",
              f"--memlock={limit(resource.RLIMIT_MEMLOCK, 'LimitMEMLOCK')}"]
    rights = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    if os.geteuid() == 0:
        rights += ["--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*rights, scene.BINARY, "version"], capture_output=True).returncode:
            lacks.append("another user who may read the binary")
            rights = rights[:-3]
    for name, part in (("unshare and mount", mount), ("prlimit", limits), ("setpriv", rights)):
        if works(*part):
            wrap += part
        else:
            lacks.append(name)
    return [*wrap, "/usr/bin/python3", scene.ROOT / "tests/scene/under_profile.py", profile], lacks


def under_its_limits(folder):
    try:
        import seccomp  # noqa: F401
    except ImportError:
        print("  skipped: no python3-seccomp to load the filter")
        return
    config = make(folder)
    scene.ringfeed("index", *sorted(folder.glob("in-*.tar")))
    text = json.loads(config.read_text())
    run = folder / "run"
    run.mkdir()
    text["daemon"].update(socket=str(run / "rf.sock"), index_cache=str(folder / "cache"))
    (folder / "cache").mkdir()
    config.write_text(json.dumps(text))
    profile = folder / "profile.json"
    profile.write_text(json.dumps(profile_of_unit()))
    with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
        wanted = rows(loader)
    writable = [run, folder / "cache", folder / "ledger"]
    folder.chmod(0o755)
    for path in writable:
        path.chmod(0o777)
        for left in path.iterdir():
            left.unlink()
    wrap, lacks = wrapping(folder, profile, writable)
    for name in lacks:
        print(f"  without {name}: this machine does not have it, or not for us")
    with scene.Daemon(config, wrap=wrap) as daemon:
        pid = daemon.status()["pid"]
        state = open(f"/proc/{pid}/status").read()
        assert re.search(r"NoNewPrivs:\s1\nSeccomp:\s2\n", state), state
        if "setpriv" not in lacks:
            assert re.search(r"CapBnd:\s0+\n", state) and re.search(r"CapEff:\s0+\n", state), state
        told = daemon.status()["sandbox"]
        assert told["whole"] or "sanitizer" in told["missing"], told
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            assert rows(loader) == wanted
        if "metrics" in text["daemon"]:
            address = re.search(r"http://(\S+?)/ is the status page", daemon.log())[1]
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                assert b"ringfeed_" in answer.read()
        print(f"  {daemon.status()['engine']}, Seccomp_filters {re.search(r'Seccomp_filters:.(.)', state)[1]}, sandbox whole")
        os.kill(pid, signal.SIGTERM)
        daemon.process.wait(20)


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        print("skipped: no systemd-analyze (Debian's systemd)")
        sys.exit(77)
    scene.need_data("imagenet-sample")
    scene.main([keys, exposure, filtered, under_its_limits])
