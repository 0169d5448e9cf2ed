# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The manual pages: clean to mandoc, and with every command, option and key; every command's help has its examples."""
import re
import shutil
import subprocess
import sys

import scene

COMMANDS = (scene.ROOT / "src/main/commands.def").read_text()
OPTIONS = (scene.ROOT / "src/main/options.def").read_text()
KEYS = (scene.ROOT / "src/config/keys.def").read_text()
STEPS = (scene.ROOT / "src/config/transforms.def").read_text()
PREFIXES = {"ROOT": "", "DAEMON": "daemon.", "FEED": "feeds.NAME.", "SOURCE": "feeds.NAME.source.", "FIELD": "feeds.NAME.fields.NAME."}


def page(section):
    """The page as a reader sees it, in one line, without marks and hyphenation."""
    source = scene.ringfeed("manual", section).stdout
    made = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000"], input=source, capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", made.stdout)


def lint(folder):
    for section in "15":
        source = scene.ringfeed("manual", section).stdout
        said = subprocess.run(["mandoc", "-T", "lint"], input=source, capture_output=True, text=True).stdout.splitlines()
        said = [line for line in said if "referenced manual not found: Xr ringfeed" not in line]  # each names the other
        assert not said and source.isascii(), said


def commands(folder):
    text = page("1")
    names = re.findall(r"^COMMAND\((\w+)", COMMANDS, re.M)
    assert len(names) > 10
    for name in names:
        part = re.search(rf"^ {{3}}ringfeed {name}$(.*?)^ +Examples:$(.*?)(?=^ {{3}}ringfeed \w+$|^ENVIRONMENT$)", text, re.M | re.S)
        assert part, name
        helped = scene.ringfeed(name, "--help").stdout
        summary, examples = helped.split("\nexamples:\n")
        assert examples.strip(), name
        for line in examples.splitlines():
            assert line.strip().startswith("ringfeed " + name), line
            assert line.strip() in part[2], (name, line)
        shown = " ".join(part[1].split())
        for words in summary.split("\noptions:\n")[0].split("\n\n", 1)[1].split("\n\n"):
            for sentence in re.split(r"(?<=[.:])\s", words):
                assert " ".join(sentence.split()) in shown, (name, sentence)
        for option in re.findall(r"--([a-z-]+)", summary.split("\noptions:\n")[1]):
            assert re.search(rf"--{option}\b", part[1]), (name, option)


def keys(folder):
    text = page("5")
    rows = re.findall(r'^(?:KEY|GROUP)\((\w+), "([^"]+)"', KEYS, re.M)
    assert len(rows) > 30
    for scope, path in rows:
        assert re.search(rf"^ +{re.escape(PREFIXES[scope] + path)}( |$)", text, re.M), (scope, path)
    for default in re.findall(r'^ +NULL, NULL, NULL, "([^"]+)"|KEY_SIZE, \w+, NULL, "[^"]*", "[^"]*", "([^"]+)"', KEYS):
        assert f"Default: {default[0] or default[1]}." in text, default
    for kind in re.findall(r"^STEP\((\w+)", STEPS, re.M):
        part = re.search(rf"^ +{kind.lower()}$(.*?)(?=^ {{1,3}}[a-z_]+$|^EXAMPLES$)", text, re.M | re.S)
        assert part, kind
        for name in re.findall(rf'^PARAM\({kind}, "(\w+)"', STEPS, re.M):
            assert re.search(rf"^ +{name}( |$)", part[1], re.M), (kind, name)


def sections(folder):
    done = scene.ringfeed("manual", "2", check=False)
    assert done.returncode == 2 and "accepted: 1, 5" in done.stderr
    dated = [scene.ringfeed("manual", "1", env={"SOURCE_DATE_EPOCH": "86400"}).stdout for _ in range(2)]
    assert dated[0] == dated[1] and ".Dd January  2, 1970" in dated[0], dated[0][:200]


if __name__ == "__main__":
    if not shutil.which("mandoc"):
        print("skipped: no mandoc (Debian's mandoc)")
        sys.exit(77)
    scene.main([lint, commands, keys, sections])
