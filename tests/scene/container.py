# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""In containers: what config/seccomp-profile makes lets the daemon read through io_uring and changes nothing else; without it
threads read and the log says why. And the Containerfile installs what the binary needs, from Debian alone."""
import copy
import json
import os
import re
import subprocess
import sys

import scene

TOOL = scene.ROOT / "config/seccomp-profile"
CALLS = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
RUNTIMES = ["/usr/share/containers/seccomp.json", os.environ.get("RINGFEED_SECCOMP_PROFILE", "")]


def tool(*arguments):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True)


def made_of(folder, profile):
    path = folder / "default.json"
    path.write_text(json.dumps(profile))
    done = tool(path)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def actions(profile):
    """What each named call is met with, by the first rule without conditions that names it."""
    found = {}
    for rule in profile["syscalls"]:
        for name in rule.get("names") or [rule["name"]]:
            if not (rule.get("args") or rule.get("includes") or rule.get("excludes")):
                found.setdefault(name, (rule["action"], rule.get("errnoRet")))
    return found


def rewritten(folder):
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
               "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                            {"names": ["bpf", "io_uring_setup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                            {"names": ["io_uring_enter"], "action": "SCMP_ACT_ERRNO"},
                            {"name": "close", "action": "SCMP_ACT_ALLOW", "args": []}]}
    before = copy.deepcopy(profile)
    made = made_of(folder, profile)
    for name, action in actions(before).items():
        assert actions(made)[name] == (("SCMP_ACT_ALLOW", None) if name in CALLS else action), name
    assert {k: v for k, v in made.items() if k != "syscalls"} == {k: v for k, v in before.items() if k != "syscalls"}
    assert {name for name, (action, _) in actions(made).items() if action == "SCMP_ACT_ALLOW"} == CALLS | {"read", "write", "close"}
    assert made_of(folder, made)["syscalls"][:3] == made["syscalls"][:3]
    for text, words in (("[]", "is no seccomp profile"), ("nonsense", "is no seccomp profile"), ('{"syscalls": 3}', "is no")):
        (folder / "bad.json").write_text(text)
        done = tool(folder / "bad.json")
        assert done.returncode == 1 and words in done.stderr and not done.stdout, done
    assert tool(folder / "none.json").returncode == 1


def all_but_uring():
    import seccomp
    names = set()
    for number in range(600):
        try:
            name = seccomp.resolve_syscall(seccomp.Arch(), number)
        except ValueError:
            continue
        names.add(name.decode() if isinstance(name, bytes) else name)
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "syscalls": [{"names": sorted(names - CALLS), "action": "SCMP_ACT_ALLOW"}]}


def bench(folder, profile, config):
    """(engine, log) of an epoch under the profile."""
    path = folder / "used.json"
    path.write_text(json.dumps(profile))
    done = subprocess.run([sys.executable, scene.ROOT / "tests/scene/under_profile.py", path, scene.BINARY, "bench", "-c", config,
                           "train", "--epochs", "1", "--digest", "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    return json.loads(done.stdout), done.stderr


def under_profiles(folder):
    try:
        import seccomp  # noqa: F401
    except ImportError:
        print("  skipped: no python3-seccomp to run under a profile")
        return
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:40], 40)
    config = scene.write_config(folder, {"train": scene.feed(shards, dtype="uint8", transform=[{"random_resized_crop": {"size": 64}}],
                                                             size=10)}, memory="256MiB")
    plain = json.loads(scene.ringfeed("bench", "-c", config, "train", "--epochs", "1", "--digest", "--json").stdout)
    if plain["engine"] != "uring":
        print("  skipped: this machine has no io_uring to allow")
        return
    profiles = {"own": all_but_uring()}
    profiles.update({path: json.load(open(path)) for path in RUNTIMES if os.path.exists(path)})
    for name, profile in profiles.items():
        without, log = bench(folder, profile, config)
        lines = [line for line in log.splitlines() if "reading with threads:" in line]
        assert without["engine"] == "threads" and len(lines) == 1, log
        assert "refused by a seccomp filter" in lines[0] and "--security-opt" in lines[0], lines
        allowed, log = bench(folder, made_of(folder, profile), config)
        assert allowed["engine"] == "uring" and "reading with threads" not in log
        assert without["digest"] == allowed["digest"] == plain["digest"]
        print(f"  {name}: {lines[0]}")


def instructions(path):
    """[(word, the rest)], lines that end with a backslash joined, comments left out."""
    text = "".join(line for line in path.read_text().splitlines(True) if not line.lstrip().startswith("#"))
    return [line.split(None, 1) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def containerfile(folder):
    steps = instructions(scene.ROOT / "config/Containerfile")
    known = {"FROM", "RUN", "COPY", "VOLUME", "USER", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in steps} <= known, steps
    assert [rest for word, rest in steps if word == "FROM"] == ["debian:12-slim AS build", "debian:12-slim"]
    body = " ".join(rest for word, rest in steps if word != "FROM")
    assert not re.search(r"://|\b[\w-]+\.(io|com|org|net)\b", body), body
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (scene.ROOT / source).exists(), source
        if word in ("ENTRYPOINT", "CMD"):
            json.loads(rest)
    command = [w for word, rest in steps if word in ("ENTRYPOINT", "CMD") for w in json.loads(rest)]
    assert command[:2] == ["/usr/bin/ringfeed", "serve"]
    user = next(rest for word, rest in steps if word == "USER")
    assert user not in ("0", "root")
    installed = set(re.search(r"--no-install-recommends((?: +[a-z0-9.+-]+)+)", [r for w, r in steps if w == "RUN"][-2])[1].split())
    needed = subprocess.run(["ldd", scene.BINARY], capture_output=True, text=True, check=True).stdout
    owners = set()
    for path in re.findall(r"=> (/\S+)", needed):
        owner = subprocess.run(["dpkg", "-S", os.path.realpath(path)], capture_output=True, text=True)
        if owner.returncode == 0:
            owners.add(owner.stdout.split(":")[0])
    if not owners:
        print("  skipped: no dpkg to tell which packages the libraries are of")
        return
    assert installed == owners - {"libc6"}, (installed, owners)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([rewritten, containerfile, under_profiles])
