# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""under_profile.py PROFILE.json CMD…: runs CMD under a container's seccomp profile, as a runtime on amd64 without capabilities
would: rules with other architectures or capabilities in includes do not count."""
import errno
import json
import os
import sys

import seccomp

COMPARES = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_LT": seccomp.LT, "SCMP_CMP_LE": seccomp.LE,
            "SCMP_CMP_GT": seccomp.GT, "SCMP_CMP_GE": seccomp.GE}


def action(name, number):
    if name == "SCMP_ACT_ERRNO":
        return seccomp.ERRNO(errno.EPERM if number is None else number)
    return {"SCMP_ACT_ALLOW": seccomp.ALLOW, "SCMP_ACT_KILL": seccomp.KILL}[name]


def counts(rule):
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return not includes.get("caps") and "amd64" in includes.get("arches", ["amd64"]) and "amd64" not in excludes.get("arches", [])


def compare(arg):
    if arg["op"] == "SCMP_CMP_MASKED_EQ":
        return seccomp.Arg(arg["index"], seccomp.MASKED_EQ, arg["value"], arg["valueTwo"])
    return seccomp.Arg(arg["index"], COMPARES[arg["op"]], arg["value"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    built = seccomp.SyscallFilter(default)
    for rule in filter(counts, profile["syscalls"]):
        what = action(rule["action"], rule.get("errnoRet"))
        for name in rule["names"]:
            try:
                if what != default:
                    built.add_rule(what, name, *map(compare, rule.get("args") or []))
            except (ValueError, RuntimeError):
                pass  # a call that this architecture does not have
    built.load()
    os.execv(sys.argv[2], sys.argv[2:])


main()
