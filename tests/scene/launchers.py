# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""config/slurm.sbatch, kubernetes.yaml and torchrun.sh: read strictly; the first two run here with real daemons and real trainers
(torchrun.py runs the third). What stands in for Slurm starts processes, what stands in for the kubelet too; nothing for ringfeed."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import nodes
import order_twin
import scene

CONFIG = scene.ROOT / "config"
PER_SHARD = [60, 33, 7, 60, 40]
ORDER = {"shuffle": "block", "seed": nodes.SEED, "window": 16, "parts": 64}
SIZE = 4
TRAINER = """
import json, os, sys, ringfeed
seen = []
with ringfeed.Loader("train") as loader:
    group = next(g for f in ringfeed.status(os.environ["RINGFEED_SOCKET"])["feeds"] for g in f["groups"])
    for batch in loader:
        assert batch["label"].tolist() == batch.index.tolist()
        seen.append([batch.position.tolist(), batch.index.tolist(), batch.valid.tolist()])
        if len(sys.argv) > 2 and os.environ.get("SLURM_PROCID") == "1":
            sys.exit(int(sys.argv[2]))
with open(os.path.join(sys.argv[1], f"rank-{os.getpid()}.json"), "w") as out:
    json.dump({"seen": seen, "group": group["name"], "world": group["world"],
               "local": sum(r["state"] == "attached" for r in group["ranks"])}, out)
"""


def make_run(folder):
    """Shards, a feed and a trainer; returns (configuration, trainer, folder of what trainers say)."""
    shards = nodes.pack_shards(folder, PER_SHARD, 64)
    made = nodes.make_feed(shards, ORDER, "pad", 64, size=SIZE)
    config = scene.write_config(folder, {"train": made}, memory="96MiB", workers=1)
    trainer, said = folder / "train.py", folder / "said"
    trainer.write_text(TRAINER)
    said.mkdir()
    return config, trainer, said


def plain_environment(folder, **more):
    """Without what a launcher around this test may have set; `ringfeed` and `srun` are in PATH."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, target in (("ringfeed", scene.BINARY), ("srun", pathlib.Path(__file__).with_name("srun")), ("python", sys.executable)):
        if not (tools / name).exists():
            (tools / name).symlink_to(target)
    kept = {k: v for k, v in os.environ.items() if not re.match("SLURM_|OMPI_|PET_|PMIX|JOB_COMPL|RANK|WORLD|LOCAL_|MASTER_|GROUP_", k)}
    return {**kept, "PATH": f"{tools}:{os.environ['PATH']}", **more}


def check_union(said, world):
    """What all trainers were given is one epoch of the global order."""
    runs = [json.loads(path.read_text()) for path in said.glob("rank-*.json")]
    assert len(runs) == world and all(run["world"] == world for run in runs), len(runs)
    order = nodes.twin_of(PER_SHARD, ORDER)
    walk = order_twin.Pass(order.n, 0, SIZE, world, "pad")
    by_rank = {run["seen"][0][0][0] % world: [tuple(batch) for batch in run["seen"]] for run in runs}
    assert sorted(by_rank) == list(range(world))
    assert all(len(batches) == walk.n_batches() for batches in by_rank.values())
    union = nodes.check_ranks(by_rank, order, walk)
    assert union == {t: order.sample(t) for t in range(order.n)}
    return runs


def processes_of(folder):
    """Command lines that name the folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


# ---- shell ----

def shell_is_sound(folder):
    for name in ("slurm.sbatch", "torchrun.sh"):
        path = CONFIG / name
        assert os.access(path, os.X_OK)
        subprocess.run(["bash", "-n", path], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", path], check=True)
        else:
            print("  not checked: there is no shellcheck")
        for arguments in ([], ["feed.yaml"]):
            done = subprocess.run([path, *arguments], capture_output=True, text=True)
            assert done.returncode == 2 and done.stderr.startswith("usage: ") and not done.stdout, done


# ---- Slurm ----

DIRECTIVES = {"job-name": r"[a-z-]+", "nodes": r"[1-9]\d*", "ntasks-per-node": r"[1-9]\d*", "cpus-per-task": r"[1-9]\d*",
              "time": r"(\d+-)?\d{1,2}:\d\d:\d\d"}


def directives():
    """As sbatch reads them: long options before the first command; a later or misspelt one would be ignored or refused."""
    found, is_over = {}, False
    for line in (CONFIG / "slurm.sbatch").read_text().splitlines():
        if not line.startswith("#SBATCH"):
            is_over |= bool(line.strip()) and not line.startswith("#")
            continue
        name, value = re.fullmatch(r"#SBATCH --([a-z-]+)=(\S+)", line).groups()
        assert not is_over and name not in found and re.fullmatch(DIRECTIVES[name], value), line
        found[name] = value
    return found


def start_batch(folder, job, arguments):
    asked = directives()
    n, each = int(asked["nodes"]), int(asked["ntasks-per-node"])
    local = folder / f"job-{job}" / "local"
    local.mkdir(parents=True)
    env = plain_environment(folder, RINGFEED_LOCAL=str(local), SLURM_JOB_ID=str(job), SLURM_JOB_NUM_NODES=str(n),
                            SLURM_NNODES=str(n), SLURM_NTASKS=str(n * each), SLURM_NTASKS_PER_NODE=str(each),
                            SLURM_TASKS_PER_NODE=f"{each}(x{n})", SLURM_CPUS_PER_TASK=asked["cpus-per-task"],
                            SLURM_CPUS_ON_NODE="8", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0")
    return subprocess.Popen([CONFIG / "slurm.sbatch", *map(str, arguments)], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True), n, each


def assert_clean(folder, job):
    assert not processes_of(folder), processes_of(folder)
    left = [p for node in (folder / f"job-{job}").glob("node-*") for p in node.iterdir()]
    assert not left, left


def slurm_job(folder):
    """The batch script as it is: every rank gets its part, the daemons end, nothing is left on any node."""
    config, trainer, said = make_run(folder)
    batch, n, each = start_batch(folder, 4711, [config, "python", trainer, said])
    text, _ = batch.communicate(timeout=120)
    assert batch.returncode == 0, text
    runs = check_union(said, n * each)
    assert len({run["group"] for run in runs}) == 1 and re.fullmatch(r"4711\.\d+", runs[0]["group"]), runs[0]["group"]
    assert max(run["local"] for run in runs) <= each and text.count("ready on") == n
    assert_clean(folder, 4711)


def slurm_failures(folder):
    """A trainer's exit code ends the job and is its own; a bad configuration ends it before any trainer; scancel leaves nothing."""
    config, trainer, said = make_run(folder)
    batch, *_ = start_batch(folder, 1, [config, "python", trainer, said, 7])
    text, _ = batch.communicate(timeout=120)
    assert batch.returncode == 7, text
    assert_clean(folder, 1)
    for path in said.iterdir():
        path.unlink()
    (folder / "bad.yaml").write_text("daemon: {memroy: 1GiB}\n")
    batch, *_ = start_batch(folder, 2, [folder / "bad.yaml", "python", trainer, said])
    text, _ = batch.communicate(timeout=60)
    assert batch.returncode == 78 and "memroy" in text and "a daemon ended before the trainers began" in text, text
    assert_clean(folder, 2)
    assert not list(said.iterdir())
    batch, *_ = start_batch(folder, 3, [config, "sh", "-c", f"touch {said}/$SLURM_PROCID; exec sleep 600"])
    scene.wait_until(lambda: len(list(said.iterdir())) == 8, 60)
    for pid in [batch.pid, *children_of(batch.pid)]:  # scancel --full: all steps and the script
        os.kill(pid, 15)
    text, _ = batch.communicate(timeout=60)
    assert batch.returncode == 143, (batch.returncode, text)
    assert_clean(folder, 3)


def children_of(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---- Kubernetes ----

# What the API of Kubernetes 1.29 has there, as far as it is used: another or misspelt field is a fault. A type, a tuple of
# words, {field: …} or [each].
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$")
METADATA = {"name": NAME, "labels": dict}
PROBE = {"exec": {"command": [str]}, "periodSeconds": int, "timeoutSeconds": int, "failureThreshold": int}
RESOURCES = {"cpu": QUANTITY, "memory": QUANTITY, "nvidia.com/gpu": QUANTITY}
CONTAINER = {
    "name": NAME, "image": str, "command": [str], "args": [str], "restartPolicy": ("Always",), "startupProbe": PROBE,
    "env": [{"name": re.compile(r"[A-Z_][A-Z0-9_]*$"), "value": str, "valueFrom": {"fieldRef": {"fieldPath": str}}}],
    "resources": {"requests": RESOURCES, "limits": RESOURCES},
    "securityContext": {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool, "capabilities": {"drop": [str]},
                        "seccompProfile": {"type": ("Localhost", "RuntimeDefault", "Unconfined"), "localhostProfile": str}},
    "volumeMounts": [{"name": NAME, "mountPath": re.compile("/"), "readOnly": bool}],
}
POD = {
    "subdomain": NAME, "restartPolicy": ("Never", "OnFailure"), "shareProcessNamespace": bool,
    "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int},
    "initContainers": [CONTAINER], "containers": [{k: v for k, v in CONTAINER.items() if k != "restartPolicy"}],
    "volumes": [{"name": NAME, "emptyDir": {"medium": ("", "Memory"), "sizeLimit": QUANTITY}, "configMap": {"name": NAME},
                 "persistentVolumeClaim": {"claimName": NAME, "readOnly": bool}}],
}
KINDS = {
    ("v1", "ConfigMap"): {"data": dict},
    ("v1", "Service"): {"spec": {"clusterIP": ("None",), "publishNotReadyAddresses": bool, "selector": dict}},
    ("batch/v1", "Job"): {"spec": {"completionMode": ("Indexed", "NonIndexed"), "completions": int, "parallelism": int,
                                   "backoffLimit": int, "template": {"metadata": METADATA, "spec": POD}}},
}


def check_fields(value, wanted, at):
    if isinstance(wanted, dict):
        assert isinstance(value, dict), at
        for key, inner in value.items():
            assert key in wanted, f"{at}.{key}: there is no such field"
            check_fields(inner, wanted[key], f"{at}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(value, list) and value, at
        for i, inner in enumerate(value):
            check_fields(inner, wanted[0], f"{at}[{i}]")
    elif isinstance(wanted, tuple):
        assert value in wanted, f"{at}: {value!r} is none of {wanted}"
    elif isinstance(wanted, re.Pattern):
        assert isinstance(value, str) and wanted.match(value), f"{at}: {value!r}"
    else:
        assert type(value) is wanted, f"{at}: {value!r} is no {wanted.__name__}"


def manifest():
    import yaml

    class Strict(yaml.SafeLoader):
        """A key that stands twice is a fault, where YAML for Python takes the last one."""

        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(k, deep=True) for k, _ in node.value]
            assert len(set(keys)) == len(keys), f"{node.start_mark}: {keys}"
            return super().construct_mapping(node, deep)

    found = {}
    for document in yaml.load_all((CONFIG / "kubernetes.yaml").read_text(), Strict):
        api, kind = document.pop("apiVersion"), document.pop("kind")
        check_fields(document, {"metadata": METADATA, **KINDS[api, kind]}, kind)
        assert kind not in found
        found[kind] = document
    assert set(found) == {kind for _, kind in KINDS}
    return found


def mebibytes(quantity):
    n, unit = re.fullmatch(r"(\d+)([MG]i?)B?", quantity).groups()
    return int(n) * {"Mi": 1, "Gi": 1024}[unit]


def pod_of(found):
    spec = found["Job"]["spec"]["template"]["spec"]
    (sidecar,), (main,) = spec["initContainers"], spec["containers"]
    return spec, sidecar, main


def kubernetes_manifest(folder):
    """Every field is one of the API's, and what names something else names what is there."""
    import yaml
    found = manifest()
    job, (spec, sidecar, main) = found["Job"]["spec"], pod_of(found)
    assert sidecar["restartPolicy"] == "Always" and spec["shareProcessNamespace"] is True
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    volumes = {v["name"]: v for v in spec["volumes"]}
    assert len(volumes) == len(spec["volumes"]) and all(len(v) == 2 for v in spec["volumes"])
    mounted = [m["name"] for c in (sidecar, main) for m in c["volumeMounts"]]
    assert set(mounted) == set(volumes)
    assert volumes["socket"]["emptyDir"] == {} and mounted.count("socket") == 2
    assert volumes["feed"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    where = {m["name"]: m["mountPath"] for m in sidecar["volumeMounts"]}
    for wrong in ({"restartpolicy": "Always"}, {"restartPolicy": "Never"}, {"env": [{"name": "X", "value": 4}]},
                  {"resources": {"limits": {"memory": "4GiB"}}}):
        try:
            check_fields({**sidecar, **wrong}, CONTAINER, "wrong")
        except AssertionError:
            continue
        raise AssertionError(f"{wrong} passes the check")
    env = {e["name"]: e for e in main["env"]}
    assert len(env) == len(main["env"]) and all(len(e) == 2 for e in main["env"])
    socket = sidecar["args"][sidecar["args"].index("--socket") + 1]
    assert socket == env["RINGFEED_SOCKET"]["value"] == sidecar["startupProbe"]["exec"]["command"][-1]
    assert socket.startswith(where["socket"] + "/") and where["socket"] in [m["mountPath"] for m in main["volumeMounts"]]
    assert sidecar["args"][2] == f"{where['feed']}/{next(iter(found['ConfigMap']['data']))}"
    assert env["PET_NNODES"]["value"] == str(job["completions"])
    assert env["PET_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.annotations['batch.kubernetes.io/job-completion-index']")
    name, service = found["Job"]["metadata"]["name"], found["Service"]
    assert service["metadata"]["name"] == spec["subdomain"] and service["spec"]["selector"] == {"job-name": name}
    assert env["PET_MASTER_ADDR"]["value"] == f"{name}-0.{spec['subdomain']}"
    feed = yaml.safe_load(found["ConfigMap"]["data"]["ringfeed.yaml"])
    room = mebibytes(sidecar["resources"]["limits"]["memory"]) - mebibytes(feed["daemon"]["memory"].removesuffix("B"))
    assert room == 256 and sidecar["resources"]["limits"]["memory"] == sidecar["resources"]["requests"]["memory"]
    assert feed["daemon"]["index_cache"] == where["index"]
    world = job["completions"] * int(env["PET_NPROC_PER_NODE"]["value"])
    assert feed["feeds"]["train"]["order"]["parts"] == 2 * world == 64
    profile = sidecar["securityContext"]["seccompProfile"]["localhostProfile"]
    assert profile in (CONFIG / "seccomp-profile").read_text()
    user = re.search(r"^USER (\d+)$", (CONFIG / "Containerfile").read_text(), re.M)[1]
    assert str(spec["securityContext"]["runAsUser"]) == user


def play_pod(folder, index, found, env):
    """The sidecar until its probe succeeds; mounts are folders below this pod's own."""
    import yaml
    own = folder / f"pod-{index}"
    spec, sidecar, _ = pod_of(found)

    def here(text):
        for mount in sidecar["volumeMounts"]:
            text = text.replace(mount["mountPath"], str(own / mount["name"]))
        return text
    for mount in sidecar["volumeMounts"]:
        (own / mount["name"]).mkdir(parents=True)
    feed = yaml.safe_load(found["ConfigMap"]["data"]["ringfeed.yaml"])
    made = json.loads((folder / "feed.json").read_text())
    made["daemon"] = {**feed["daemon"], "memory": "96MiB", "workers": 1, "index_cache": here(feed["daemon"]["index_cache"])}
    made["feeds"]["train"]["order"] = {**feed["feeds"]["train"]["order"], "window": ORDER["window"]}
    (own / "feed" / "ringfeed.yaml").write_text(json.dumps(made))
    log = open(own / "log", "w")
    daemon = subprocess.Popen([scene.BINARY, *map(here, sidecar["args"])], stderr=log, env=env)
    probe = [here(word) for word in sidecar["startupProbe"]["exec"]["command"]]
    scene.wait_until(lambda: subprocess.run(probe, env=env, capture_output=True).returncode == 0, 30, 0.1)
    return daemon, here


def kubernetes_job(folder):
    """Four pods, played: as torchrun would start trainers in them, and one trainer a pod without it."""
    config, trainer, said = make_run(folder)
    (folder / "feed.json").write_text(config.read_text())
    found = manifest()
    job, (_, _, main) = found["Job"]["spec"], pod_of(found)
    daemons, env = [], plain_environment(folder)
    try:
        for index in range(job["completions"]):
            daemons.append(play_pod(folder, index, found, env))
        values = {e["name"]: e.get("value", "") for e in main["env"]}
        for each, world_only in ((2, False), (1, False), (1, True)):
            runs = []
            for index, (_, here) in enumerate(daemons):
                for local in range(each):
                    mine = {"JOB_COMPLETION_INDEX": str(index), "RINGFEED_SOCKET": here(values["RINGFEED_SOCKET"]),
                            "RINGFEED_GROUP": f"group-{each}-{world_only}"}
                    if world_only:
                        mine["WORLD_SIZE"] = str(job["completions"])
                    else:
                        mine.update({k: v for k, v in values.items() if k.startswith("PET_")}, PET_NODE_RANK=str(index),
                                    PET_NPROC_PER_NODE=str(each), LOCAL_RANK=str(local))
                    runs.append(subprocess.Popen(["python", trainer, said], env={**env, **mine}))
            assert [run.wait(60) for run in runs] == [0] * len(runs)
            check_union(said, job["completions"] * each)
            for path in said.iterdir():
                path.unlink()
        for daemon, _ in daemons:  # the kubelet ends sidecars after the trainers
            daemon.terminate()
            assert daemon.wait(10) == 0
        assert not processes_of(folder), processes_of(folder)
    finally:
        for daemon, _ in daemons:
            daemon.kill()
            daemon.wait()


def can_part_nodes():
    """tests/scene/srun gives each node a mount namespace."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(["unshare", "--mount", *as_root, "true"], capture_output=True, text=True)
    if done.returncode:
        print(f"  Slurm's script is not run: no mount namespaces here ({done.stderr.strip()})")
    return done.returncode == 0


if __name__ == "__main__":
    slurm = [slurm_job, slurm_failures] if can_part_nodes() else []
    scene.main([shell_is_sound, *slurm, kubernetes_manifest, kubernetes_job])
