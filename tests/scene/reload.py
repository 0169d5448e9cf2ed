# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""SIGHUP: what can change while the daemon runs does, all or nothing, and everything else is refused by name."""
import json
import pathlib
import signal
import threading

import ringfeed
import scene
from trace import rows


class Served:
    """A daemon whose configuration is a dict that can be changed."""

    def __init__(self, folder, **daemon):
        members = [[("jpg", p.read_bytes()), ("cls", str(i).encode())]
                   for i, p in enumerate(scene.photos("imagenet-sample")[:96])]
        for i in range(5, 96, 10):
            members[i][0] = ("jpg", b"no image")
        shards = scene.pack(folder, "in", members, 96)
        made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 64}}], dtype="uint8", size=8, slots=2,
                          bad_samples={"policy": "substitute", "limit": "100%"})
        self.path = scene.write_config(folder, {"train": made}, memory="192MiB", workers=3, **daemon)
        self.config = json.loads(self.path.read_text())
        self.daemon = scene.Daemon(self.path)
        self.n = 0

    def reload(self, wanted, text, seconds=20):
        """Writes the configuration, sends SIGHUP, and gives the status when it has been taken or refused."""
        self.path.write_text(self.config if isinstance(self.config, str) else json.dumps(self.config))
        self.daemon.process.send_signal(signal.SIGHUP)
        self.n += 1
        scene.wait_until(lambda: (r := self.daemon.status()["reload"]) and r["applied"] + r["refused"] == self.n, seconds)
        told = self.daemon.status()["reload"]
        assert told["outcome"] == wanted and text in told["text"] and told["seconds_ago"] < seconds, told
        assert text in self.daemon.log() and "reload" in scene.ringfeed("status", "--socket", self.daemon.socket).stdout
        return self.daemon.status()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.daemon.stop()


def processes(daemon):
    """Workers, by name."""
    parent = daemon.status()["clean_parent_pid"]
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [p for p in children if pathlib.Path(f"/proc/{p}/comm").read_text().startswith("ringfeed-w")]


def fewer_and_more_workers(folder):
    """In the middle of an epoch, again and again: the same rows as without."""
    with Served(folder) as s:
        with ringfeed.Loader("train", socket=s.daemon.socket) as loader:
            wanted = rows(loader)
        seen = {}

        def train():
            with ringfeed.Loader("train", socket=s.daemon.socket) as loader:
                for _ in range(30):
                    loader.set_epoch(0)
                    seen[len(seen)] = rows(loader)

        thread = threading.Thread(target=train)
        thread.start()
        sizes = []
        while thread.is_alive() and len(sizes) < 40:
            for n in (1, 3, 2, 3):
                s.config["daemon"]["workers"] = n
                status = s.reload("applied", "daemon.workers")
                sizes.append(n)
                scene.wait_until(lambda: len(processes(s.daemon)) == n)
        thread.join()
        assert len(seen) == 30 and all(epoch == wanted for epoch in seen.values())
        status = s.daemon.status()
        assert len(status["workers"]) == 3 and status["reads"]["worker_deaths"] == 0, status
        print(f"  {len(sizes)} changes in {len(seen)} epochs")
        s.config["daemon"]["workers"] = 4
        status = s.reload("refused", "daemon.workers: 4 workers are more than the 3 that memory was laid out for")
        needed = int(status["reload"]["text"].split("at least ")[1].split("MiB")[0])
        with_four = {**s.config, "daemon": {**s.config["daemon"], "memory": f"{needed}MiB"}}
        (folder / "four.yaml").write_text(json.dumps(with_four))
        plan = json.loads(scene.ringfeed("plan", "--json", "-c", folder / "four.yaml").stdout)
        assert plan["workers"] == 4 and plan["needed_bytes"] == needed << 20


def limits_and_logs(folder):
    """The limit of bad samples, levels of the log, the deadline of reads."""
    with Served(folder) as s:
        s.config["feeds"]["train"]["bad_samples"]["limit"] = "1%"
        s.reload("applied", "changed: feeds.train.bad_samples.limit")
        with ringfeed.Loader("train", socket=s.daemon.socket) as loader:
            try:
                for batch in loader:
                    batch.release()
                raise AssertionError("10 % of the samples are bad, and nobody minds")
            except ringfeed.TooManyBadSamples as error:
                assert "bad_samples.limit allows 1" in str(error), error
        s.config["feeds"]["train"]["bad_samples"]["limit"] = "100%"
        s.config["daemon"]["log"] = {"level": "info", "sessions": "debug"}
        s.config["daemon"]["read_timeout"] = "200ms"
        s.reload("applied", "changed: daemon.read_timeout, daemon.log, feeds.train.bad_samples.limit")
        with ringfeed.Loader("train", socket=s.daemon.socket) as loader:
            assert len(list(1 for _ in loader)) == 12
        scene.wait_until(lambda: "debug: sessions:" in s.daemon.log())
        s.reload("applied", "no key has changed")


def refusals(folder):
    """Every other key by name, with nothing half applied; a broken file by line and column."""
    with Served(folder) as s:
        before, original = s.daemon.status(), json.dumps(s.config)
        for change, names in (
                ({"memory": "1GiB"}, "daemon.memory"), ({"socket": "/tmp/x.sock"}, "daemon.socket"),
                ({"workers": 1, "nice": 3}, "daemon.nice"), ({"metrics": "127.0.0.1:0"}, "daemon.metrics"),
                ({"cpus": "0-1023"}, "daemon.cpus"), ({"ledger": str(folder)}, "daemon.ledger")):
            s.config = json.loads(original)
            s.config["daemon"].update(change)
            s.reload("refused", f"{names} cannot change while the daemon runs")
        feed = lambda: s.config["feeds"]["train"]
        for change, name in (
                (lambda: feed()["batch"].update(size=4), "feeds.train.batch.size"),
                (lambda: feed()["order"].update(seed=1), "feeds.train.order.seed"),
                (lambda: feed()["source"].update(shards=["/x.tar"]), "feeds.train.source.shards"),
                (lambda: feed()["bad_samples"].update(policy="mask", limit="1%"), "feeds.train.bad_samples.policy"),
                (lambda: feed()["fields"]["image"].update(dtype="float32"), "feeds.train.fields.image.dtype"),
                (lambda: feed()["fields"]["image"].update({"from": "png"}), "feeds.train.fields.image.from"),
                (lambda: feed()["fields"]["image"].update(transform=[{"random_resized_crop": {"size": 32}}]),
                 "feeds.train.fields.image.transform.0.size"),
                (lambda: feed()["fields"]["image"].update(transform=[{"resize": {"size": [64, 64]}}]),
                 "feeds.train.fields.image.transform.0"),
                (lambda: feed()["fields"].pop("label"), "feeds.train.fields.label"),
                (lambda: feed()["fields"].update(more={"from": "cls", "decode": "integer"}), "feeds.train.fields.more"),
                (lambda: feed().update(share="lockstep"), "feeds.train.share"),
                (lambda: feed().update(share={"window": 2}), "feeds.train.share"),
                (lambda: s.config["feeds"].update(val=feed()), "feeds.val")):
            s.config = json.loads(original)
            change()
            s.reload("refused", name + " cannot change")
        s.config = json.loads(original)
        s.config["daemon"]["workesr"] = 2
        s.reload("refused", "daemon.workesr: unknown key; did you mean workers?")
        s.config = "daemon: ["
        s.reload("refused", f"{s.path.name}:")
        s.path.unlink()
        s.daemon.process.send_signal(signal.SIGHUP)
        scene.wait_until(lambda: "No such file or directory" in s.daemon.status()["reload"]["text"])
        after = s.daemon.status()
        assert len(after["workers"]) == 3 and after["feeds"][0]["slots"] == before["feeds"][0]["slots"]
        with ringfeed.Loader("train", socket=s.daemon.socket) as loader:
            assert len(list(1 for _ in loader)) == 12, "the limit is still 100 %"


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([fewer_and_more_workers, limits_and_logs, refusals])
