# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Trainers as people write them: plain PyTorch, torchrun, C, forked and spawned ones, Ctrl-C, `ringfeed run`.

RINGFEED_TORCH_PYTHON names an interpreter that has torch; else this one is tried."""
import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
import time

import ringfeed
import scene

N = 300
LABELS = {"label": {"from": "cls", "decode": "integer", "dtype": "int64"}}


def photo_feed(folder, **more):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N], 100)
    more.setdefault("batch", {"size": 20, "last": "drop"})
    return scene.feed(shards, transform=[{"random_resized_crop": {"size": 64}}, *scene.TRAIN[1:]], slots=3, **more)


def label_feed(folder, n=N, **more):
    shards = scene.pack(folder, "labels", [[("cls", str(i).encode())] for i in range(n)], 100)
    more.setdefault("batch", {"size": 20, "last": "drop"})
    return scene.feed(shards, fields=LABELS, **more)


def torch_python():
    """An interpreter with torch, or None."""
    python = os.environ.get("RINGFEED_TORCH_PYTHON") or sys.executable
    done = subprocess.run([python, "-c", "import torch"], capture_output=True)
    return python if done.returncode == 0 else None


def write_program(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def environment(daemon=None, **more):
    """Without what an outer launcher may have left."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("SLURM_", "OMPI_", "PET_")) and k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if daemon:
        env["RINGFEED_SOCKET"] = daemon.socket
    return {**env, **more}


def run_program(command, daemon=None, **more):
    """Its stdout; one that hangs is ended with all that it started."""
    program = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment(daemon, **more), start_new_session=True)
    try:
        out, errors = program.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        out, errors = program.communicate()
    assert program.returncode == 0, f"{command}: exit {program.returncode}\n{out}\n{errors}"
    return out


PLAIN = """
    import json, torch
    from ringfeed.torch import Loader
    torch.manual_seed(0); torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, 4), torch.nn.ReLU(), torch.nn.Flatten(),
                                torch.nn.LazyLinear(10))
    seen, losses = [], []
    with Loader("train") as loader:
        model(torch.zeros(1, 3, 64, 64))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for batch in loader:
            images, labels = batch["image"], batch["label"]
            assert images.shape == (20, 3, 64, 64) and images.dtype == torch.float32
            images.sub_(0.0)  # in-place work on a lent batch is fine
            loss = torch.nn.functional.cross_entropy(model(images), labels % 10)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            losses.append(loss.item()); seen += batch.index.tolist()
            assert batch.index.tolist() == labels.tolist() and bool(batch.valid.all())
    print(json.dumps({"seen": seen, "finite": all(x == x for x in losses)}))
"""


def plain_torch(folder):
    python = torch_python()
    if not python:
        print("skipped plain_torch: no torch (RINGFEED_TORCH_PYTHON)")
        return
    with scene.Daemon(scene.write_config(folder, {"train": photo_feed(folder)})) as daemon:
        out = json.loads(run_program([python, write_program(folder, "train.py", PLAIN)], daemon))
    assert out["finite"] and sorted(out["seen"]) == list(range(N))


DISTRIBUTED = """
    import os, json, pathlib, sys, torch, torch.distributed as dist
    from ringfeed.torch import Loader
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3 * 64 * 64, 10))
    seen = []
    with Loader("train", config=os.environ.get("SCENE_CONFIG")) as loader:
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(model(batch["image"].flatten(1)), batch["label"] % 10)
            loss.backward()
            assert all(p % dist.get_world_size() == dist.get_rank() for p in batch.position.tolist())
            seen += batch.index.tolist()
    pathlib.Path(sys.argv[1], f"rank{dist.get_rank()}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()
"""


def torchrun(python, folder, daemon, **more):
    run_program([python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                 write_program(folder, "ddp.py", DISTRIBUTED), folder], daemon, OMP_NUM_THREADS="1",
                GLOO_SOCKET_IFNAME="lo", **more)
    ranks = [json.loads((folder / f"rank{r}.json").read_text()) for r in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == N // 2
    assert sorted(ranks[0] + ranks[1]) == list(range(N))


def torchrun_two_ranks(folder):
    python = torch_python()
    if not python:
        print("skipped torchrun_two_ranks: no torch (RINGFEED_TORCH_PYTHON)")
        return
    feed = photo_feed(folder, batch={"size": 15, "last": "drop"})
    with scene.Daemon(scene.write_config(folder, {"train": feed})) as daemon:
        torchrun(python, folder, daemon)


def torchrun_private_daemon(folder):
    """No daemon is there: the first of the two ranks starts one, and both find it."""
    python = torch_python()
    if not python:
        print("skipped torchrun_private_daemon: no torch (RINGFEED_TORCH_PYTHON)")
        return
    feed = photo_feed(folder, batch={"size": 15, "last": "drop"})
    config = scene.write_config(folder, {"train": feed})
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    torchrun(python, folder, None, SCENE_CONFIG=str(config), RINGFEED_COMMAND=scene.BINARY, XDG_RUNTIME_DIR=str(runtime))
    scene.wait_until(lambda: not list(runtime.glob("*")), 15)


C_TRAINER = r"""
    #include <errno.h>
    #include <ringfeed/ringfeed.h>
    #include <stdio.h>
    #include <string.h>

    static int fail(const struct rf_error *e)
    {
        fprintf(stderr, "%s: %s\n", e->name, e->text);
        return 1;
    }

    int main(void)
    {
        struct rf_options how = {.size = sizeof(how), .feed = "train"};
        struct rf_session *s;
        struct rf_batch *b;
        struct rf_error error;
        long long n_batches = 0, n_samples = 0, sum = 0;
        int r;

        if (rf_session_open(&how, &s, &error) < 0)
            return fail(&error);
        while ((r = rf_session_next(s, -1, &b)) == 0) {
            struct rf_array image, label;

            if (rf_batch_array(b, "image", &image) < 0 || rf_batch_array(b, "label", &label) < 0)
                return 2;
            if (strcmp(image.dtype, "float32") || image.n_dims != 4 || image.shape[1] != 3 ||
                image.shape[2] != 64 || image.n_bytes != (size_t)image.shape[0] * 3 * 64 * 64 * 4)
                return 3;
            for (long i = 0; i < rf_batch_n_rows(b); i++) {
                if (((const long long *)label.data)[i] != rf_batch_index(b)[i] || !rf_batch_valid(b)[i])
                    return 4;
                sum += rf_batch_index(b)[i];
                n_samples++;
            }
            n_batches++;
            if (rf_batch_release(b) < 0)
                return 5;
        }
        if (r != -ENODATA)
            return fail(rf_session_error(s));
        printf("%lld %lld %lld %lld\n", n_batches, n_samples, sum, (long long)rf_session_epoch(s));
        return rf_session_close(s) != NULL;
    }
"""


def trainer_in_c(folder):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        print("skipped trainer_in_c: no C compiler")
        return
    library = pathlib.Path(os.environ["RINGFEED_LIBRARY"])
    source, program = write_program(folder, "train.c", C_TRAINER), folder / "train"
    run_program([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{scene.ROOT}/include", source, "-o",
                 program, library, f"-Wl,-rpath,{library.parent}"])
    with scene.Daemon(scene.write_config(folder, {"train": photo_feed(folder)})) as daemon:
        out = run_program([program], daemon).split()
    assert list(map(int, out)) == [N // 20, N, N * (N - 1) // 2, 1]


def train_rank(socket, rank, queue):
    """The main function of a trainer that multiprocessing started."""
    with ringfeed.Loader("train", socket=socket, rank=rank, world_size=2, local_world_size=2, group="pool") as loader:
        queue.put([i for batch in loader for i in batch.index.tolist()])


def forked_and_spawned(folder):
    """Trainers started by multiprocessing, from a parent that has a loader of its own; that one, used in a
    forked child, is refused by name there and goes on here (P4)."""
    with scene.Daemon(scene.write_config(folder, {"train": label_feed(folder)})) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            passing = iter(loader)
            first = next(passing)
            before = first.index.tolist()
            for method in ("fork", "spawn"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                children = [context.Process(target=train_rank, args=(daemon.socket, r, queue)) for r in range(2)]
                for child in children:
                    child.start()
                taken = [queue.get(timeout=60) for _ in children]
                for child in children:
                    child.join(30)
                    assert child.exitcode == 0
                half = N // 40 * 20
                assert sorted(map(len, taken)) == [half, half] and len(set(taken[0] + taken[1])) == 2 * half
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    next(passing)
                except ringfeed.Forked:
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(pid, 0)[1] == 0
            assert first.index.tolist() == before
            assert 1 + sum(1 for _ in passing) == len(loader)


BLOCKED = """
    import sys, ringfeed
    with ringfeed.Loader("train", credit=1) as loader:
        passing = iter(loader)
        held = next(passing)
        print("held", flush=True)
        sys.stdin.readline()
        held.release()  # nobody is there to send another one
        try:
            next(passing)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise SystemExit(3)
"""


def ctrl_c(folder):
    """SIGINT ends a trainer that waits for a batch within a second, with KeyboardInterrupt. The daemon is
    stopped, so that no batch comes."""
    program = write_program(folder, "wait.py", BLOCKED)
    with scene.Daemon(scene.write_config(folder, {"train": label_feed(folder)})) as daemon:
        for _ in range(3):
            trainer = subprocess.Popen([sys.executable, str(program)], env=environment(daemon), text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert trainer.stdout.readline() == "held\n"
            daemon.process.send_signal(signal.SIGSTOP)
            trainer.stdin.write("\n")
            trainer.stdin.flush()
            time.sleep(0.3)
            began = time.monotonic()
            trainer.send_signal(signal.SIGINT)
            try:
                out, _ = trainer.communicate(timeout=10)
                took = time.monotonic() - began
            finally:
                daemon.process.send_signal(signal.SIGCONT)
            assert (out, trainer.returncode) == ("interrupted\n", 3)
            assert took < 1, f"Ctrl-C took {took:.2f} s"


RANK = """
    import json, os, pathlib, sys, time, ringfeed
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "RINGFEED_SOCKET", "RINGFEED_GROUP")
    with ringfeed.Loader("train") as loader:
        seen = [i for batch in loader for i in batch.index.tolist()]
    out = {"seen": seen, "pid": os.getpid(), "ppid": os.getppid(), **{n: os.environ[n] for n in names}}
    folder = pathlib.Path(sys.argv[1])
    (folder / "part").with_suffix("." + os.environ["RANK"]).write_text(json.dumps(out))
    (folder / "part").with_suffix("." + os.environ["RANK"]).rename(folder / f"run{os.environ['RANK']}.json")
    while not (folder / "run0.json").exists():
        time.sleep(0.01)  # the exit of rank 1 ends rank 0
    sys.exit(int(sys.argv[2]) if os.environ["RANK"] == "1" else 0)
"""


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def family_of(pid):
    """All processes below it; those that end meanwhile are left out."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [p for child in children_of(pid) for p in (child, *family_of(child))]
    return []


def leftovers(runtime):
    return list(pathlib.Path(runtime).iterdir())


def ringfeed_run(folder):
    """`run` sets the environment of each copy, passes on the first exit code that is not 0 and leaves no
    process and no file behind; SIGINT and a missing program too."""
    config = scene.write_config(folder, {"train": label_feed(folder, batch={"size": 10, "last": "drop"})})
    program = write_program(folder, "rank.py", RANK)
    runtime = folder / "run"
    runtime.mkdir()
    env = environment(XDG_RUNTIME_DIR=str(runtime))
    for code in (0, 7):
        for r in range(2):
            (folder / f"run{r}.json").unlink(missing_ok=True)
        done = scene.ringfeed("run", "-c", config, "-n", 2, "--", sys.executable, program, folder, code, check=False,
                              env=env)
        assert done.returncode == code, done.stderr
        ranks = [json.loads((folder / f"run{r}.json").read_text()) for r in range(2)]
        assert sorted(ranks[0]["seen"] + ranks[1]["seen"]) == list(range(N))
        for r, rank in enumerate(ranks):
            assert [rank[n] for n in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")] == [
                str(r), str(r), "2", "2"]
            assert rank["MASTER_ADDR"] == "127.0.0.1" and 0 < int(rank["MASTER_PORT"]) < 65536
        for name in ("MASTER_PORT", "RINGFEED_SOCKET", "RINGFEED_GROUP", "ppid"):
            assert ranks[0][name] == ranks[1][name]
        assert not any(is_alive(rank[k]) for rank in ranks for k in ("pid", "ppid"))
        assert not leftovers(runtime)
    done = scene.ringfeed("run", "-c", config, "--", folder / "missing", check=False, env=env)
    assert done.returncode == 127 and "missing" in done.stderr and not leftovers(runtime)


def run_interrupted(folder):
    """Ctrl-C, and kill -9 of `run` itself: the copies, the daemon and its workers end."""
    config = scene.write_config(folder, {"train": label_feed(folder)})
    env = environment(XDG_RUNTIME_DIR=str(folder))
    ready = folder / "ready"
    sleeper = f"import ringfeed, time\nl = ringfeed.Loader('train')\nopen({str(ready)!r}, 'w')\ntime.sleep(60)"
    for number in (signal.SIGINT, signal.SIGKILL):
        run = subprocess.Popen([scene.BINARY, "run", "-c", str(config), "-n", "2", "--", sys.executable, "-c", sleeper],
                               env=env, stderr=subprocess.DEVNULL)
        scene.wait_until(ready.exists, 20)
        ready.unlink()
        scene.wait_until(lambda: len(family_of(run.pid)) >= 6)  # two copies, the daemon, the clean parent, two workers
        pids = family_of(run.pid)
        run.send_signal(number)
        run.wait(timeout=15)
        assert number == signal.SIGKILL or run.returncode == 130
        scene.wait_until(lambda: not any(map(is_alive, pids)), 10)


def closing_gives_back(folder):
    """A closed loader keeps nothing of the daemon's but the batches still held, however it was left."""
    feed = label_feed(folder, n=1000, slots=4)
    with scene.Daemon(scene.write_config(folder, {"train": feed})) as daemon:
        def lent():
            slots = daemon.slots("train")
            return slots["all"] - slots["free"], len(daemon.ranks("train"))

        for _ in range(100):  # more than there are sessions
            with ringfeed.Loader("train", socket=daemon.socket) as loader:
                for batch in loader:
                    break
        scene.wait_until(lambda: lent() == (1, 1))
        held = batch.index.tolist()
        with ringfeed.Loader("train", socket=daemon.socket, rank=0, world_size=2, local_world_size=2, group="g"):
            pass
        with ringfeed.Loader("train", socket=daemon.socket, rank=0, world_size=2, local_world_size=2, group="g"):
            pass  # the rank was free at once
        assert batch.index.tolist() == held == batch["label"].tolist()
        batch.release()
        scene.wait_until(lambda: lent() == (0, 0))


def spend_pass(loader, work):
    """The thread's CPU nanoseconds of each batch outside work(batch)."""
    spent, passing = [], iter(loader)
    for _ in range(len(loader)):
        began = time.thread_time_ns()
        batch = next(passing)
        images, labels = batch["image"], batch["label"]
        got = time.thread_time_ns()
        work(images)
        back = time.thread_time_ns()
        del images, labels
        batch.release()
        spent.append(got - began + time.thread_time_ns() - back)
    return spent


def trainer_cpu(folder):
    """CPU of the trainer's thread around next() and release(): what a batch costs the training loop, when its
    own work keeps the thread running, and when the thread sleeps for each batch and its caches are cold."""
    feed = photo_feed(folder, order={"shuffle": "none"})
    with scene.Daemon(scene.write_config(folder, {"train": feed})) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            for name, work in (("busy", lambda images: [images.sum() for _ in range(30)]),
                               ("waiting", lambda images: None)):
                spent = sorted(sum((spend_pass(loader, work) for _ in range(6)), [])[5:])
                median, p99 = statistics.median(spent) / 1000, spent[len(spent) * 99 // 100] / 1000
                print(f"trainer's CPU per batch, {name}: median {median:.0f} us, p99 {p99:.0f} us, n = {len(spent)}")
                assert median < scene.at_most(100), median


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([closing_gives_back, trainer_cpu, trainer_in_c, forked_and_spawned, ctrl_c, ringfeed_run,
                run_interrupted, plain_torch, torchrun_two_ranks,
                torchrun_private_daemon])
