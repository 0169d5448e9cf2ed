# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The command line as a person or a script meets it: exit codes, which stream says what, every slip named.

Usage: test-command.py RINGFEED SAMPLE_FILE VERSION
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

RINGFEED, SAMPLE, VERSION = sys.argv[1:4]


def run(*words, text=None, **variables):
    done = subprocess.run([RINGFEED, *words], input=text, capture_output=True, text=True, timeout=20,
                          env=dict(os.environ, **variables))
    return done.returncode, done.stdout, done.stderr


class Commands(unittest.TestCase):
    def refused(self, words, *says, status=2):
        code, out, err = run(*words)
        self.assertEqual((code, out), (status, ""), err)
        for text in says:
            self.assertIn(text, err)

    def test_version(self):
        self.assertEqual(run("version"), (0, f"ringfeed {VERSION}\n", ""))
        self.assertEqual(run("--version"), (0, f"ringfeed {VERSION}\n", ""))
        self.assertEqual(json.loads(run("version", "--json")[1]), {"version": VERSION})

    def complete(self, *words):
        """What bash would offer for the last of the words."""
        _, script, _ = run("completion", "bash")
        ask = f'COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _ringfeed; '
        done = subprocess.run(["bash", "-c", script + ask + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True,
                              text=True, timeout=20)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_completion(self):
        self.assertEqual(self.complete("ringfeed", "se"), ["serve"])
        self.assertEqual(self.complete("ringfeed", "bench", "--epo"), ["--epochs"])
        self.assertEqual(self.complete("ringfeed", "completion", "z"), ["zsh"])
        self.assertEqual(self.complete("ringfeed", "help", "conf"), ["config"])
        self.assertEqual(self.complete("ringfeed", "serve", "./"), [])  # files are bash's own business
        for shell in ("bash", "zsh", "fish"):
            code, out, err = run("completion", shell)
            self.assertEqual((code, err), (0, ""))
            for word in ("serve", "bench", "digest", "ringfeed"):
                self.assertIn(word, out)
            if shutil.which(shell):  # zsh and fish where they are installed
                done = subprocess.run([shell, "-n", "/dev/stdin"], input=out, capture_output=True, text=True, timeout=20)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.refused(("completion", "tcsh"), "tcsh", "bash, zsh, fish")
        self.refused(("completion",), "argument is missing")

    def test_help(self):
        code, out, err = run("help")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(run("--help"), (code, out, err))
        self.assertEqual(run("-h"), (code, out, err))
        names = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
        self.assertIn("check", names)
        for name in names:
            code, text, err = run("help", name)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(text.startswith(f"usage: ringfeed {name} "), text)
            self.assertIn("-h, --help", text)
            self.assertIn(f"examples:\n  ringfeed {name}", text)
            self.assertEqual(run(name, "--help"), (0, text, ""))
            self.assertEqual(run(name, "-h"), (0, text, ""))

    def test_help_config(self):
        with open(SAMPLE, encoding="utf-8") as file:
            self.assertEqual(run("help", "config"), (0, file.read(), ""))

    def test_wrong_words(self):
        self.refused([], "usage: ringfeed COMMAND")
        self.refused(["chekc"], "unknown command 'chekc'; did you mean check?")
        self.refused(["frobnicate"], "unknown command 'frobnicate'\n")
        self.refused(["help", "chekc"], "did you mean check?")
        self.refused(["--json"], "usage: ringfeed COMMAND")
        self.refused(["check"], "--config FILE is missing", "usage: ringfeed check -c FILE")
        self.refused(["check", "--jsn"], "unknown option --jsn; did you mean --json?")
        self.refused(["check", "--js"], "unknown option --js")  # no abbreviations
        self.refused(["check", "-x"], "unknown option -x")
        self.refused(["check", "--epoch", "3"], "unknown option --epoch")  # another command's
        self.refused(["check", "-c"], "--config needs FILE")
        self.refused(["check", "-c", "a", "-c", "b"], "--config is given twice")
        self.refused(["check", "-c", "a", "--json=yes"], "--json takes no value")
        self.refused(["check", "-c", "a", "extra"], "one argument too many: extra")
        self.refused(["version", "--", "--json"], "one argument too many: --json")

    def test_check(self):
        with tempfile.TemporaryDirectory() as folder:
            sample = os.path.join(folder, "sample.yaml")
            with tarfile.open(os.path.join(folder, "a.tar"), "w", format=tarfile.USTAR_FORMAT) as tar:
                for name in ("0.jpg", "0.cls"):
                    tar.addfile(tarfile.TarInfo(name), io.BytesIO())
            with open(SAMPLE, encoding="utf-8") as file:
                text = file.read().replace("/data/imagenet/train-{000000..001281}.tar", folder + "/a.tar")
            with open(sample, "w", encoding="utf-8") as file:
                file.write(text)
            accepted = (0, "", f"{sample}: no faults, 1 feed\n")
            for words in (["check", "-c", sample], ["-c", sample, "check"], ["check", "--config", sample],
                          ["check", f"--config={sample}"], ["check", f"-c{sample}"],
                          ["--config=" + sample, "check"],
                          ["check", "-c", sample, "--set", "daemon.workers=4", "--set=daemon.io=threads"]):
                self.assertEqual(run(*words), accepted, words)
            self.assertEqual(run("check", "-c", "-", text=text)[0], 0)
            out = run("check", "-c", sample, "--json")
            self.assertEqual((out[0], out[2], json.loads(out[1])), (0, "", {"is_accepted": True, "faults": []}))

    def test_check_datasets(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, bytes_ in (("junk.tar", b"hello"), ("cut.tar", b"\x1f\x8b" + bytes(600))):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(bytes_)
            shards = f"feeds.train.source.shards=[{folder}/junk.tar, {folder}/cut.tar]"
            code, out, err = run("check", "-c", SAMPLE, "--set", shards)
            self.assertEqual((code, out), (78, ""))
            first, second, last = err.splitlines()
            self.assertIn(f"{folder}/junk.tar, offset 0: not a tar", first)
            self.assertIn(f"{folder}/cut.tar, offset 0: compressed with gzip", second)
            self.assertEqual(last, f"{SAMPLE}: 2 faults")
            faults = json.loads(run("check", "-c", SAMPLE, "--set", shards, "--json")[1])
            self.assertEqual((faults["is_accepted"], len(faults["faults"])), (False, 2))

    def test_check_faults(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "f.yaml")
            with open(SAMPLE, encoding="utf-8") as file:
                lines = file.read().replace("memory: 2GiB", "memory: 2GB")
            with open(path, "w", encoding="utf-8") as file:
                file.write(lines)
            line = 1 + [text.strip() for text in lines.splitlines()].index("memory: 2GB")
            code, out, err = run("check", "-c", path, RINGFEED_DAEMON__IO="urign")
            self.assertEqual((code, out), (78, ""))
            first, second, last = err.splitlines()
            self.assertTrue(first.startswith(f"{path}:{line}:11: daemon.memory: '2GB' is wrong"), first)
            self.assertTrue(second.startswith("RINGFEED_DAEMON__IO: daemon.io: 'urign' is wrong"), second)
            self.assertEqual(last, f"{path}: 2 faults")
            code, out, err = run("check", "-c", path, "--json", "--set", "daemon.log=\udcff")
            faults = json.loads(out)
            self.assertEqual((code, err, faults["is_accepted"]), (78, "", False))
            self.assertEqual([(f["line"], f["column"]) for f in faults["faults"]], [(line, 11), (0, 0)])
        self.refused(["check", "-c", folder + "/gone"], f"{folder}/gone: No such file or directory", status=78)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([RINGFEED, "help"], stdout=full, stderr=subprocess.PIPE, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"could not be written", done.stderr)


unittest.main(argv=sys.argv[:1])
