# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""P3, P12: what a worker, the clean parent and the core may not do they cannot; a worker that does it dies, and its samples are
handled like those of any dead worker. And a sandboxed daemon does all that one without a sandbox does, byte for byte."""
import errno
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request

import ringfeed
import scene
from trace import rows

SANDBOXED = os.environ["RINGFEED_SANDBOXED"]
SYSTEM = os.uname()
SMALL = [{"random_resized_crop": {"size": 48}}]
RDONLY, WRONLY_CREAT = os.O_RDONLY, os.O_WRONLY | os.O_CREAT
AT_FDCWD, PROT_WRITE, PROT_EXEC, MAP_ANON = -100, 2, 4, 0x22
SYS_X32 = hex(0x40000000 | 39)

# Nobody may.
ALL = [
    ("execve", "s:/bin/true", "0", "0"), ("execveat", str(AT_FDCWD), "s:/bin/true", "0", "0", "0"),
    ("socket", "2", "1", "0"), ("socket", "16", "3", "0"), ("ptrace", "0x4206", "parent", "0", "0"),
    ("process_vm_writev", "parent", "0", "0", "0", "0", "0"), ("process_vm_readv", "parent", "0", "0", "0", "0", "0"),
    ("kill", "parent", "0"), ("kill", "parent", "15"), ("kill", "-1", "0"), ("tgkill", "parent", "parent", "0"), ("tkill", "parent", "0"),
    ("rt_sigqueueinfo", "parent", "0", "buffer"), ("pidfd_send_signal", "0", "0", "0", "0"),
    ("mmap", "0", "4096", str(PROT_EXEC), str(MAP_ANON), "-1", "0"), ("mprotect", "buffer", "0", str(PROT_EXEC)), ("pkey_mprotect", "0", "0", "0", "0"),
    ("unshare", "0"), ("setns", "0", "0"), ("mount", "0", "0", "0", "0", "0"), ("chroot", "s:/"), ("pivot_root", "s:/", "s:/"),
    ("bpf", "0", "0", "0"), ("perf_event_open", "0", "0", "-1", "-1", "0"), ("userfaultfd", "0"), ("io_uring_setup", "0", "0"),
    ("keyctl", "0"), ("add_key", "0", "0", "0", "0", "0"), ("init_module", "0", "0", "0"), ("kexec_load", "0", "0", "0", "0"), ("reboot", "0"),
    ("setuid", "0"), ("setgid", "0"), ("capset", "0", "0"), ("chmod", "s:/", "0755"), ("chown", "s:/", "0", "0"), ("fchmodat", "-100", "s:/", "0755"),
    ("mkdir", "s:/tmp", "0755"), ("rename", "s:/none", "s:/none"), ("link", "s:/none", "s:/none"), ("symlink", "s:/none", "s:/none"), ("mknod", "s:/none", "0", "0"),
    ("truncate", "s:/none", "0"), ("openat2", "-100", "s:/", "0", "0"), ("name_to_handle_at", "0", "0", "0", "0", "0"),
    ("open_by_handle_at", "0", "0", "0"), ("inotify_init1", "0"), ("fanotify_init", "0", "0"), ("shmget", "0", "0", "0"), ("msgget", "0", "0"), ("mq_open", "0", "0", "0", "0"),
    ("personality", "0xffffffff"), ("iopl", "0"), ("clock_settime", "0", "0"), ("swapon", "0", "0"), ("acct", "0"), ("quotactl", "0", "0", "0", "0"),
    ("seccomp", "99", "0", "0"), ("memfd_secret", "0"), ("ioctl", "2", "0x5401", "buffer"), ("bind", "tcp", "port", "16"), ("listen", "tcp", "1"), ("connect", "tcp", "port", "16"),
]
# Only the parent needs these: its workers have no filter of their own yet, and give up what capabilities it has.
NOT_PARENT = {"seccomp", "capset"}
WORKER = [
    ("openat", str(AT_FDCWD), "s:/etc/passwd", "0"), ("open", "s:/etc/passwd", "0"), ("stat", "s:/", "buffer"), ("access", "s:/", "0"),
    ("readlink", "s:/proc/self/exe", "buffer", "100"), ("getdents64", "0", "buffer", "100"), ("chdir", "s:/"), ("unlink", "s:/none"),
    ("read", "channel", "buffer", "1"), ("read", "other", "buffer", "1"), ("write", "other", "buffer", "1"), ("write", "1", "buffer", "0"), ("writev", "other", "0", "0"),
    ("sendto", "other", "buffer", "1", "0", "0", "0"), ("sendto", "channel", "buffer", "1", "0", "port", "16"), ("recvfrom", "other", "buffer", "1", "64", "0", "0"),
    ("sendmsg", "channel", "0", "0"), ("recvmsg", "channel", "0", "0"), ("dup", "2"), ("dup2", "2", "9"), ("fcntl", "2", "0", "0"), ("close", "1"),
    ("socketpair", "1", "1", "0", "buffer"), ("socket", "1", "1", "0"), ("pipe2", "buffer", "0"), ("memfd_create", "s:x", "0"), ("eventfd2", "0", "0"), ("epoll_create1", "0"),
    ("pidfd_open", "self", "0"), ("fork",), ("vfork",), ("clone", "17", "0", "0", "0", "0"), ("clone", "0x50f00", "0", "0", "0", "0"), ("clone3", "0", "0"),
    ("mprotect", "shared", "8192", "3"), ("mprotect", "buffer", "0", "1"), ("mmap", "0", "4096", "1", "1", "2", "0"), ("mmap", "0", "4096", "1", "2", "2", "0"),
    ("prctl", "15", "s:x", "0", "0", "0"), ("prlimit64", "0", "7", "0", "buffer"), ("prlimit64", "parent", "7", "0", "buffer"), ("setpriority", "0", "0", "0"), ("getppid",),
    ("tgkill", "parent", "parent", "6"), ("sched_setaffinity", "0", "8", "buffer"), ("io_uring_enter", "0", "0", "0", "0", "0", "0"), ("uname", "buffer"), ("sysinfo", "buffer"),
    ("mlock", "buffer", "1"), ("ftruncate", "2", "0"), ("landlock_restrict_self", "0", "0"), ("wait4", "-1", "0", "1", "0"), ("nanosleep", "buffer", "0"),
]
WORKER_ALLOWED = [
    ("getpid",), ("brk", "0"), ("mmap", "0", "4096", "3", str(MAP_ANON), "-1", "0"), ("madvise", "shared", "4096", "4"), ("clock_gettime", "2", "buffer"),
    ("sendto", "channel", "buffer", "1", "0", "0", "0"), ("recvfrom", "channel", "buffer", "1", "64", "0", "0"), ("write", "2", "buffer", "0"), ("sched_yield",),
]
CORE = [("fork",), ("vfork",), ("clone", "17", "0", "0", "0", "0"), ("kill", "child", "15"), ("kill", "self", "9"), ("prlimit64", "0", "7", "buffer", "0"),
        ("socketpair", "2", "1", "0", "buffer"), ("prctl", "15", "s:x", "0", "0", "0"), ("setpriority", "0", "0", "0"), ("landlock_restrict_self", "0", "0")]
CORE_ALLOWED = [("openat", str(AT_FDCWD), "s:/", "0"), ("kill", "child", "9"), ("prlimit64", "0", "7", "0", "buffer"), ("socket", "1", "2", "0"), ("dup", "2"), ("getdents64", "9", "buffer", "0")]
PARENT = [("openat", str(AT_FDCWD), "s:/none", "1"), ("openat", str(AT_FDCWD), "s:/none", "0x40"), ("unlink", "s:/none"), ("open", "s:/", "0"), ("clone", "0x10000011", "0", "0", "0", "0"),
          ("tgkill", "parent", "parent", "0"), ("kill", "parent", "0"), ("accept4", "0", "0", "0", "0"), ("memfd_create", "s:x", "0"), ("pidfd_open", "self", "0"), ("socketpair", "1", "1", "0", "buffer")]
PARENT_ALLOWED = [("openat", str(AT_FDCWD), "s:/proc", "0"), ("kill", "child", "9"), ("getppid",)]


# of linux/capability.h: DAC_OVERRIDE, DAC_READ_SEARCH, IPC_LOCK; DAC_READ_SEARCH, SYS_PTRACE; a worker keeps none
CAPABILITIES = {"core": 1 << 1 | 1 << 2 | 1 << 14, "parent": 1 << 2 | 1 << 19}


def sandboxed(role, wall, *call, **env):
    return subprocess.run([SANDBOXED, role, wall, *call], capture_output=True, env={**os.environ, **env}).returncode


def has_walls():
    """(seccomp, Landlock's ABI), asked of the kernel through the test's own program."""
    return sandboxed("core", "calls", "getpid") == 0, sandboxed("core", "files", "getpid") == 0


def exists(name):
    """Whether this architecture has the call."""
    return name == "int80" or name[0].isdigit() or subprocess.run([SANDBOXED, "known", name], capture_output=True).returncode == 0


def p03_forbidden_calls(folder):
    """Each alone, by the filter alone: Landlock is not there to help."""
    if not has_walls()[0]:
        print("  skipped: the kernel has no seccomp filters, or refuses them here")
        return
    n = 0
    for role, more, refused in (("worker", WORKER, -signal.SIGSYS), ("core", CORE, errno.EPERM), ("parent", PARENT, errno.EPERM)):
        for call in ALL + more:
            if not exists(call[0]) or (role == "parent" and call[0] in NOT_PARENT):
                continue
            got = sandboxed(role, "calls", *call)
            assert got == refused, (role, call, got)
            n += 1
    for role, calls in (("worker", WORKER_ALLOWED), ("core", CORE_ALLOWED), ("parent", PARENT_ALLOWED)):
        for call in calls:
            got = sandboxed(role, "calls", *call)
            assert got in (0, errno.EBADF if call[0] == "getdents64" else 0), (role, call, got)
    assert sandboxed("core", "calls", "clone3", "0", "0") == errno.ENOSYS  # libc then takes clone
    for role in ("worker", "core"):
        assert sandboxed(role, "calls", "abort") == -signal.SIGABRT
    if SYSTEM.machine == "x86_64":
        for role in ("worker", "core", "parent"):
            for call in ("int80", SYS_X32):
                assert sandboxed(role, "calls", call) == -signal.SIGSYS, (role, call)
    print(f"  {n} forbidden calls")


def p03_forbidden_files(folder):
    """Landlock alone: no filter is there to help."""
    if not has_walls()[1]:
        print("  skipped: the kernel has no Landlock, or refuses it here")
        return
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    (folder / "out/file").write_text("x")

    def opened(role, path, flags, **env):
        return sandboxed(role, "files", "openat", str(AT_FDCWD), f"s:{path}", str(flags), "0600", WRITABLE=str(folder / "in"), **env)
    for path, flags in (("/etc/passwd", RDONLY), ("/", RDONLY), (folder / "out/file", os.O_WRONLY), (folder / "in/new", WRONLY_CREAT)):
        assert opened("worker", path, flags) == errno.EACCES, path
    assert opened("core", "/etc/passwd", RDONLY) == 0 and opened("core", "/", RDONLY) == 0
    assert opened("core", folder / "in/new", WRONLY_CREAT) == 0
    assert opened("core", folder / "out/file", os.O_WRONLY) == errno.EACCES
    assert opened("core", folder / "out/new", WRONLY_CREAT) == errno.EACCES
    assert opened("core", "/proc/self/comm", os.O_WRONLY) == errno.EACCES
    for role in ("core", "worker"):
        for call in (("execve", "s:/bin/true", "0", "0"), ("mkdirat", str(AT_FDCWD), f"s:{folder}/out/sub", "0700"),
                     ("unlinkat", str(AT_FDCWD), f"s:{folder}/out/file", "0")):
            assert sandboxed(role, "files", *call, WRITABLE=str(folder / "in")) == errno.EACCES, (role, call)
        net = sandboxed(role, "files", "connect", "tcp", "port", "16")
        assert net in (errno.EACCES, errno.ECONNREFUSED), net  # before ABI 4 Landlock knows no ports
    assert (folder / "out/file").read_text() == "x" and not (folder / "out/sub").exists()


# ---- the daemon ----

def dataset(folder, **daemon):
    """Photos in plain, zstd and gzip shards, JSON beside them, damaged ones among them."""
    members = [[(p.suffix.lower()[1:], p.read_bytes()), ("cls", str(i).encode()), ("json", json.dumps([i, i + 1]).encode())]
               for i, p in enumerate(scene.photos("imagenet-sample")[:72])]
    for i in range(7, 72, 20):
        members[i][0] = ("jpg", b"no image")
    plain = scene.pack(folder, "in", members, 24)
    if shutil.which("zstd"):
        subprocess.run(["zstd", "-q", "-1", "--rm", plain[1]], check=True)
        plain[1] = pathlib.Path(f"{plain[1]}.zst")
    third = pathlib.Path(f"{plain[2]}.gz")
    third.write_bytes(gzip.compress(plain[2].read_bytes(), 1))
    plain[2].unlink()
    feed = scene.feed([*plain[:2], third], transform=SMALL, dtype="uint8", size=8, slots=2, order={"shuffle": "block", "seed": 42},
                      bad_samples={"policy": "mask", "limit": "100%"})
    feed["fields"]["n"] = {"from": "json", "decode": "json", "dtype": "int64", "shape": [2]}
    (folder / "ledger").mkdir()
    (folder / "cache").mkdir()
    return scene.write_config(folder, {"train": feed}, memory="192MiB", workers=2, ledger=str(folder / "ledger"),
                              index_cache=str(folder / "cache"), metrics="127.0.0.1:0", **daemon)


def is_sanitized(config):
    """Whether this build has a sanitizer, in whose company no sandbox is possible; the daemon says so."""
    done = subprocess.run([scene.BINARY, "serve", "-c", config, "--set", "daemon.sandbox=required", "--set", "daemon.memory=16MiB"],
                          capture_output=True, text=True, timeout=60)
    return "this build has a sanitizer" in done.stderr


def state_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def page(daemon, path):
    address = re.search(r"http://(\S+?)/ is the status page", daemon.log())[1]
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return answer.read().decode()


def reload(daemon, config, **changes):
    text = json.loads(config.read_text())
    text["daemon"].update(changes)
    config.write_text(json.dumps(text))
    before = (daemon.status()["reload"] or {"applied": 0, "refused": 0})
    os.kill(daemon.process.pid, signal.SIGHUP)
    scene.wait_until(lambda: (r := daemon.status()["reload"]) and r["applied"] > before["applied"], 20)


def tour(folder, config, *options):
    """All that a daemon does, and the rows of two epochs."""
    with scene.Daemon(config, *options) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            seen = [rows(loader)]
            reload(daemon, config, workers=1)
            reload(daemon, config, workers=2)
            seen.append(rows(loader))
        assert "ringfeed_" in page(daemon, "/metrics") and "ringfeed" in page(daemon, "/")
        trace = folder / "trace.json"
        scene.ringfeed("status", "--trace", trace, "--socket", daemon.socket)
        assert json.loads(trace.read_text())
        scene.wait_until(lambda: all(w["up"] for w in daemon.status()["workers"]))
        status = daemon.status()
        assert status["reads"]["worker_deaths"] == 0, daemon.log()
        states = {p: state_of(p) for p in [status["pid"], status["clean_parent_pid"], *(w["pid"] for w in status["workers"])]}
        limits = {w["pid"]: pathlib.Path(f"/proc/{w['pid']}/limits").read_text() for w in status["workers"]}
        assert "signal 31" not in daemon.log(), daemon.log()
        socket = daemon.socket
        assert daemon.stop() == 0, daemon.log()
        assert not os.path.exists(socket), "its socket is removed at the end"
    text = (folder / "ledger/ringfeed-bad.jsonl").read_text()
    (folder / "ledger/ringfeed-bad.jsonl").unlink()
    return seen, status, states, limits, text.count("\n")


def p03_same_bytes(folder):
    config = dataset(folder)
    wanted, status, states, _, lines = tour(folder, config, "--set", "daemon.sandbox=off")
    assert lines >= 4 and not status["sandbox"]["whole"] and "off" in status["sandbox"]["missing"], status["sandbox"]
    assert {s["Seccomp"] for s in states.values()} == {state_of(os.getpid())["Seccomp"]}
    first = status["sandbox"]["worker"]
    assert not first["seccomp"] and not first["landlock_abi"] and not first["no_new_privs"]
    is_whole = all(has_walls()) and not is_sanitized(config)
    for engine in ("auto", "threads"):
        rule = "required" if is_whole else "auto"
        got, status, states, told_limits, n = tour(folder, config, "--set", f"daemon.sandbox={rule}", "--set", f"daemon.io={engine}")
        assert got == wanted and n == lines, (engine, n, lines)
        told = status["sandbox"]
        assert told["whole"] == is_whole, told
        if not is_whole:
            print(f"  this machine lacks: {told['missing']}")
            continue
        for pid, state in states.items():
            assert (state["Seccomp"], state["NoNewPrivs"]) == ("2", "1"), (pid, state)
        workers = {w["pid"] for w in status["workers"]}
        assert workers and workers < set(states)
        for pid, state in states.items():
            kept = CAPABILITIES.get({status["pid"]: "core", status["clean_parent_pid"]: "parent"}.get(pid), 0)
            for name in ("CapEff", "CapPrm", "CapInh"):
                assert int(state[name], 16) & ~kept == 0, (pid, state)
        assert all(told[r]["seccomp"] and told[r]["no_new_privs"] and told[r]["forbidden_tried"] == told[r]["forbidden_refused"] > 5
                   for r in ("core", "parent", "worker")), told
        assert told["worker"]["landlock_abi"] == told["core"]["landlock_abi"] >= 1 and told["self_test_seconds"] < scene.at_most(0.1)
        for worker in status["workers"]:
            limits = told_limits[worker["pid"]]
            for name in ("Max file size", "Max core file size", "Max open files", "Max processes"):
                assert re.search(name + r" +0 +0 ", limits), limits
        print(f"  {status['engine']}: {sum(map(len, got))} rows, self-test {1e3 * told['self_test_seconds']:.1f} ms")


def few_descriptors(folder):
    """A worker has stderr and its channel, the clean parent its two sockets more."""
    config = dataset(folder)
    with scene.Daemon(config) as daemon:
        scene.wait_until(lambda: all(w["up"] for w in daemon.status()["workers"]))
        status = daemon.status()
        stderr = os.readlink(f"/proc/{status['pid']}/fd/2")
        for pid in [w["pid"] for w in status["workers"]]:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            assert len(links) == 4 and sum(link == stderr for link in links) == 3 and sum("socket:" in link for link in links) == 1, links
            mapped = pathlib.Path(f"/proc/{pid}/maps").read_text()
            areas = [line for line in mapped.splitlines() if "ringfeed-staging" in line]
            assert areas[0].split()[1].startswith("r--"), areas  # where is read to; what is inflated comes behind it


def p12_worker_that_tries(folder):
    """The real thing: strace turns calls of running workers into one that is not on their list, and the filter, which looks
    after strace, kills them."""
    if not has_walls()[0]:
        print("  skipped: the kernel has no seccomp filters, or refuses them here")
        return
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "inject=getuid:retval=0:syscall=getppid", "true"],
                          capture_output=True, text=True) if shutil.which("strace") else None
    if done is None or done.returncode:
        print("  skipped: no strace here, or it may not trace")
        return
    config = dataset(folder)
    if is_sanitized(config):
        print("  skipped: a build with a sanitizer has no sandbox")
        return
    with scene.Daemon(config, "--set", "daemon.sandbox=off") as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            wanted = rows(loader)
    wrap = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clock_gettime",
            "-e", "inject=clock_gettime:retval=0:syscall=getppid:when=25"]
    with scene.Daemon(config, wrap=wrap) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            got = rows(loader)
        status = daemon.status()
        feed = status["feeds"][0]
        assert feed["delivered"] + feed["bad"] == feed["due"], feed
        deaths = status["reads"]["worker_deaths"]
        assert deaths > 0 and "signal 31 (Bad system call)" in daemon.log(), daemon.log()
        twice = feed["bad_samples"].get("worker_died", 0)
        os.kill(status["pid"], signal.SIGTERM)
        daemon.process.wait(20)
    different = sum(got[at] != wanted[at] for at in wanted)
    assert got.keys() == wanted.keys() and different <= twice, (different, twice)
    print(f"  {deaths} workers killed for a call, {twice} samples twice, {different} rows masked for it, the others the same")


def required_and_missing(folder):
    """Where a filter around the daemon keeps it from having one of its own, `required` refuses by name, `auto` goes on."""
    try:
        import seccomp  # noqa: F401
    except ImportError:
        print("  skipped: no python3-seccomp to run under a profile")
        return
    profile = folder / "profile.json"
    names = ["seccomp", "landlock_create_ruleset"]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}]}))
    config = dataset(folder)
    if is_sanitized(config):
        print("  skipped: a build with a sanitizer has no sandbox")
        return
    wrap = ["/usr/bin/python3", scene.ROOT / "tests/scene/under_profile.py", profile]
    done = subprocess.run([*map(str, wrap), scene.BINARY, "serve", "-c", config, "--set", "daemon.sandbox=required"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 78 and "daemon.sandbox is required, but seccomp" in done.stderr and "Landlock" in done.stderr, done
    with scene.Daemon(config, wrap=wrap) as daemon:
        assert "the sandbox is not whole" in daemon.log() and not daemon.status()["sandbox"]["whole"]
        said = scene.ringfeed("status", "--socket", daemon.socket).stdout
        assert "sandbox: not whole: seccomp" in said and "worker: seccomp no" in said, said
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            assert rows(loader)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p03_forbidden_calls, p03_forbidden_files, p03_same_bytes, few_descriptors, p12_worker_that_tries, required_and_missing])
