# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""daemon.metrics: every metric documented and right, a status page that needs no script and trusts no name, clients
that dawdle harm nobody, a taken port is one clear sentence.
"""
import html.parser
import http.client
import json
import os
import re
import socket
import sys
import time

import ringfeed
import scene

HOSTILE = "<script>alert(1)</script>\"'&\\\x1b[31m\n\u009b"


def make_config(folder, n=48, **daemon):
    members = [[("jpg", p.read_bytes()), ("cls", str(i).encode())] for i, p in enumerate(scene.photos("imagenet-sample")[:n])]
    members[5][0] = ("jpg", b"no image")
    shards = scene.pack(folder, "<b>in&\"'", members, n)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 32}}], dtype="uint8", size=8, slots=2,
                      bad_samples={"policy": "substitute", "limit": "50%"})
    daemon = {"memory": "192MiB", "metrics": "127.0.0.1:0", **daemon}
    return scene.write_config(folder, {"train": made}, **daemon)


def hostile(daemon):
    """Rank 0 of 2 of a group with a terrible name."""
    return ringfeed.Loader("train", socket=daemon.socket, group=HOSTILE, rank=0, world_size=2)


def port_of(daemon):
    return int(re.search(r"http://[^ ]*:(\d+)/ is the status page", daemon.log())[1])


def take_epoch(daemon, loader):
    """One epoch; returns when the batches lent ahead of the next one lie ready, so that counters stand still."""
    for batch in loader:
        batch.release()
    for _ in range(100):
        before = daemon.status()
        time.sleep(0.15)
        if daemon.status()["reads"] == before["reads"]:
            return
    raise AssertionError("it never comes to rest")


def ask(port, path, method="GET", host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def documented():
    """name -> (type, labels), as `ringfeed help metrics` says."""
    found = {}
    for line in scene.ringfeed("help", "metrics").stdout.splitlines():
        match = re.fullmatch(r"(ringfeed_\w+)(?:\{([\w, ]*)\})?  (counter|gauge|histogram)", line)
        if match:
            found[match[1]] = (match[3], set(match[2].split(", ")) if match[2] else set())
    return found


def families(text):
    """The page by an independent parser."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        print("skipped: python3-prometheus-client is not installed")
        sys.exit(77)
    return list(text_string_to_metric_families(text))


def exposed(port):
    """(name of the sample, its labels as a frozenset) -> value."""
    values = {}
    for family in families(ask(port, "/metrics")[2].decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in values, f"{key} twice"
            values[key] = sample.value
    return values


def pick(values, name, **labels):
    found = [v for (n, l), v in values.items() if n == name and set(labels.items()) <= l]
    assert found, (name, labels)
    return sum(found)


def every_metric(folder):
    """What is exposed is what the table says, and agrees with `status`."""
    table = documented()
    assert len(table) > 30, table
    with scene.Daemon(make_config(folder)) as daemon, hostile(daemon) as loader:
        port = port_of(daemon)
        take_epoch(daemon, loader)
        status, headers, body = ask(port, "/metrics")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        seen = {}
        for family in families(body.decode()):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert name not in seen and family.documentation, name
            seen[name] = family.type
            for sample in family.samples:
                labels = set(sample.labels)
                assert labels == table[name][1] or family.type == "histogram", (sample, table[name])
        assert seen == {name: kind for name, (kind, _) in table.items()}
        now, values = daemon.status(), exposed(port)
        feed = now["feeds"][0]
        rank = feed["groups"][0]["ranks"][0]
        for name, wanted in (("ringfeed_feed_batches_total", feed["batches"]), ("ringfeed_sessions", 1),
                             ("ringfeed_feed_samples_due_total", feed["due"]),
                             ("ringfeed_feed_samples_delivered_total", feed["delivered"]),
                             ("ringfeed_feed_samples_bad_total", sum(feed["bad_samples"].values())),
                             ("ringfeed_rank_batches_total", rank["batches"]),
                             ("ringfeed_read_requests_total", now["reads"]["requests"]),
                             ("ringfeed_read_bytes_total", now["reads"]["bytes"]),
                             ("ringfeed_worker_tasks_total", now["reads"]["tasks"]),
                             ("ringfeed_memory_budget_bytes", now["memory"]["budget_bytes"]),
                             ("ringfeed_feed_rows_made_total", feed["made"]), ("ringfeed_feed_share_window", feed["window"]),
                             ("ringfeed_rank_lag", 0), ("ringfeed_rank_shared", rank["shared"]),
                             ("ringfeed_memory_line_bytes", now["memory"]["planned_bytes"]),
                             ("ringfeed_read_latency_seconds_count", now["reads"]["requests"])):
            assert pick(values, name) == wanted, (name, pick(values, name), wanted)
        clean = HOSTILE.replace("\x1b", "?").replace("\n", "?").replace("\u009b", "??")
        assert pick(values, "ringfeed_rank_slots", group=clean, rank="0", replica="0") == rank["slots"] and feed["groups"][0]["name"] == clean
        assert feed["due"] == feed["delivered"] + feed["bad"] and feed["bad"] >= 1
        assert pick(values, "ringfeed_feed_samples_bad_total", cause="not_an_image") == feed["bad"]
        states = {s: pick(values, "ringfeed_feed_slots", state=s) for s in ("free", "filling", "ready", "leased", "quarantined")}
        assert sum(states.values()) == feed["slots"]["all"], states
        limit = lambda: daemon.status()["feeds"][0]["limit"].startswith("the trainer: batches are full")
        scene.wait_until(limit, seconds=15)
        assert 0 < pick(values, "ringfeed_cpu_seconds_total", process="core") < 60
        assert pick(values, "ringfeed_memory_peak_bytes") <= pick(values, "ringfeed_memory_budget_bytes")
        # Counters go on when the trainer has gone.
        loader.close()
        scene.wait_until(lambda: not daemon.ranks("train"))
        assert pick(exposed(port), "ringfeed_feed_batches_total") >= feed["batches"]


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def status_page(folder):
    """Names are text there, whatever they hold; other paths and methods are refused."""
    config = make_config(folder)
    with scene.Daemon(config) as daemon, hostile(daemon) as loader:
        take_epoch(daemon, loader)
        port = port_of(daemon)
        status, headers, body = ask(port, "/")
        assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        page = Page(body.decode())
        text = " ".join(" ".join(page.text).split())
        assert "script" not in page.tags, page.tags
        assert "<script>alert(1)</script>\"'&" in text, "the group's name is shown as it is"
        assert "in&\"'-000000.tar" in text and "key s000005" in text, text
        for word in ("Feed train", "What limits it now:", "samples/s", "Memory", "workers up", "Bad samples last seen",
                     "the bytes are no JPEG, PNG or WebP", "192.0 MiB allowed"):
            assert word in text, (word, text)
        assert not any(c in body.decode() for c in "\x1b\u009b"), "control characters"
        status, headers, body = ask(port, "/status.json")
        mine, theirs = json.loads(body), daemon.status()
        assert status == 200 and headers["Content-Type"] == "application/json" and mine.keys() == theirs.keys()
        assert mine["pid"] == daemon.process.pid and mine["feeds"][0]["due"] == theirs["feeds"][0]["due"]
        for method, path, wanted in (("HEAD", "/", 200), ("HEAD", "/metrics", 200), ("GET", "/favicon.ico", 404),
                                     ("GET", "/../../etc/passwd", 404), ("GET", "//", 404), ("POST", "/", 405),
                                     ("DELETE", "/metrics", 405), ("OPTIONS", "/", 405)):
            status, headers, body = ask(port, path, method)
            assert status == wanted and (method == "HEAD") == (body == b""), (method, path, status, body)
        assert ask(port, "/?x=1")[0] == 200


def dawdlers(folder):
    """Clients that say nothing, half a request, nonsense, or never read: the loop goes on, and they are cut off."""
    with scene.Daemon(make_config(folder)) as daemon:
        port = port_of(daemon)
        fds = len(list((scene.pathlib.Path("/proc") / str(daemon.process.pid) / "fd").iterdir()))
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
        for i, client in enumerate(clients):
            client.sendall((b"", b"GET / HT", b"\x00\xff" * 100, b"GET /" + b"a" * 60000, b"GET / HTTP/1.1\r\n\r\n")[i % 5])
        worst = 0
        for _ in range(20):
            began = time.monotonic()
            daemon.status()
            worst = max(worst, time.monotonic() - began)
        print(f"  status beside {len(clients)} such clients: {1000 * worst:.0f} ms at most")
        assert worst < scene.at_most(0.1), worst
        scene.wait_until(lambda: len(list((scene.pathlib.Path("/proc") / str(daemon.process.pid) / "fd").iterdir())) <= fds,
                         seconds=60, pause=0.1)
        for client in clients:
            client.close()
        assert ask(port, "/metrics")[0] == 200
        peak, budget = daemon.status()["memory"]["peak_bytes"], daemon.status()["memory"]["budget_bytes"]
        assert peak <= budget, (peak, budget)


def taken_port(folder):
    """One sentence with the address and the key, before the datasets are opened."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = scene.ringfeed("serve", "-c", make_config(folder, metrics=address), check=False)
        assert done.returncode == 78, done
        assert [l for l in done.stderr.splitlines() if "info:" not in l] == [
            f"ringfeed: daemon.metrics: {address} cannot be listened at: Address already in use; choose another port, "
            "or end who has this one"], done.stderr
    done = scene.ringfeed("serve", "-c", make_config(folder, metrics="203.0.113.1:80"), check=False)
    assert done.returncode == 78 and "daemon.metrics: 203.0.113.1:80 cannot" in done.stderr, done
    for wrong in ("9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:9464", "[::1]", "[x]:1", "a b:1", "h:-1"):
        done = scene.ringfeed("check", "-c", make_config(folder, metrics=wrong), check=False)
        assert done.returncode == 78 and "HOST:PORT" in done.stderr, (wrong, done)
    with scene.Daemon(make_config(folder, metrics="[::1]:0")) as daemon:
        assert "http://[::1]:" in daemon.log()
        assert ask(port_of(daemon), "/metrics", host="::1")[0] == 200


def without_the_library(folder):
    """libmicrohttpd is wanted only where the key is set, and then missed by name."""
    (folder / "libmicrohttpd.so.12").write_bytes(b"")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = scene.ringfeed("serve", "-c", make_config(folder), check=False, env=environment)
    assert done.returncode == 78 and "daemon.metrics needs libmicrohttpd.so.12" in done.stderr, done
    assert "install libmicrohttpd12" in done.stderr.splitlines()[-1], done
    scene.ringfeed("plan", "-c", make_config(folder), env=environment)


def sharing(folder):
    """How groups share a feed is said everywhere."""
    for share, window, words in (("independent", 0, None), ("lockstep", 1, "in lock-step"),
                                 ({"window": 3}, 3, "up to 3 batches apart")):
        config = json.loads(make_config(folder).read_text())
        config["feeds"]["train"].update(share=share)
        (folder / "shared.yaml").write_text(json.dumps(config))
        with scene.Daemon(folder / "shared.yaml") as daemon:
            feed = daemon.status()["feeds"][0]
            assert (feed["share"], feed["window"]) == (share if isinstance(share, str) else "window", window), feed
            assert pick(exposed(port_of(daemon)), "ringfeed_feed_share_window") == window
            told = (scene.ringfeed("status", "--socket", daemon.socket).stdout,
                    scene.ringfeed("top", "--socket", daemon.socket).stdout, ask(port_of(daemon), "/")[2].decode())
            for text in told:
                assert ("share one pass" in text) == (window > 0) and (words is None or words in text), text


def in_the_plan(folder):
    """Its memory is a line of the plan, and only with the key."""
    with_key = json.loads(scene.ringfeed("plan", "--json", "-c", make_config(folder)).stdout)
    line = [l["bytes"] for l in with_key["lines"] if l["name"] == "metrics"]
    text = scene.ringfeed("help", "config").stdout
    assert line and line[0] <= 16 << 20 and "# metrics: 127.0.0.1:9464" in text
    config = json.loads(make_config(folder).read_text())
    del config["daemon"]["metrics"]
    (folder / "without.yaml").write_text(json.dumps(config))
    without = json.loads(scene.ringfeed("plan", "--json", "-c", folder / "without.yaml").stdout)
    assert not any(l["name"] == "metrics" for l in without["lines"])


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([every_metric, status_page, dawdlers, taken_port, without_the_library, sharing, in_the_plan])
