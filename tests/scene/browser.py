# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A real browser shows the status page of a busy daemon: the same with JavaScript and without, wide and on a phone.

With a path as argument: the wide one is kept there.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import threading

from PIL import Image, ImageChops

import scene
from metrics import hostile, make_config, port_of, take_epoch

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def profile(folder, has_scripts):
    """A browser's settings: scripts are run, or they are not."""
    made = folder / f"browser-{has_scripts}"
    (made / "Default").mkdir(parents=True, exist_ok=True)
    settings = {"profile": {"default_content_setting_values": {"javascript": 1 if has_scripts else 2}}}
    (made / "Default" / "Preferences").write_text(json.dumps(settings))
    return f"--user-data-dir={made}"


def shoot(folder, url, width, height, has_scripts=True):
    shot = folder / f"page-{width}-{has_scripts}.png"
    command = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               profile(folder, has_scripts), f"--window-size={width},{height}"]
    subprocess.run([*command, f"--screenshot={shot}", url], capture_output=True, timeout=120, check=True)
    return Image.open(shot).convert("RGB")


def shown(folder):
    with scene.Daemon(make_config(folder)) as daemon, hostile(daemon) as loader:
        take_epoch(daemon, loader)
        url = f"http://127.0.0.1:{port_of(daemon)}/"
        dom = subprocess.run([PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", profile(folder, True),
                              "--dump-dom", url], capture_output=True, text=True, timeout=120)
        assert "Feed train" in dom.stdout and "What limits it now" in dom.stdout, dom
        assert "<script" not in dom.stdout, "a name became markup"
        wide = shoot(folder, url, 1100, 1300)
        plain = shoot(folder, url, 1100, 1300, has_scripts=False)
        scripted = folder / "scripted.html"
        scripted.write_text("<body style='background:#fff'><script>document.body.style.background='#f00'</script>")
        colours = [shoot(folder, f"file://{scripted}", 200, 200, s).getpixel((9, 9)) for s in (True, False)]
        assert colours == [(255, 0, 0), (255, 255, 255)], "the browser takes no notice of its settings"
        differing = sum(ImageChops.difference(wide, plain).convert("L").point(lambda v: 255 * (v > 40)).histogram()[255:])
        assert differing < 0.02 * wide.width * wide.height, "it looks otherwise without JavaScript"
        assert len(wide.getcolors(1 << 24)) > 50, "an empty page"
        phone = shoot(folder, url, 400, 1800)
        assert len(phone.getcolors(1 << 24)) > 50
        if len(sys.argv) > 1:
            phone.save(pathlib.Path(sys.argv[1]).with_name("status-page-phone.png"))


def busy(folder):
    """For looking at: two trainers of one group, one of them slow."""
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample"), 150)
    config = scene.write_config(folder, {"train": scene.feed(shards, size=16), "val": scene.feed(shards, size=16)},
                                memory="512MiB", metrics="127.0.0.1:0")
    import ringfeed
    with scene.Daemon(config) as daemon:
        stop = threading.Event()

        def train(rank, pause):
            with ringfeed.Loader("train", socket=daemon.socket, group="resnet <50>", rank=rank, world_size=2) as loader:
                while not stop.is_set():
                    for batch in loader:
                        batch.release()
                        if stop.wait(pause):
                            break

        threads = [threading.Thread(target=train, args=a) for a in ((0, 0), (1, 0.2))]
        for t in threads:
            t.start()
        stop.wait(8)
        shoot(folder, f"http://127.0.0.1:{port_of(daemon)}/", 1100, 1300).save(sys.argv[1])
        stop.set()
        for t in threads:
            t.join()


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    if not PROGRAM:
        print("skipped: no browser is installed (chromium)")
        sys.exit(77)
    scene.main([shown] + ([busy] if len(sys.argv) > 1 else []))
