# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every header compiles by itself."""
import pathlib
import subprocess
import sys

INCLUDES = ["-Isrc", "-Iproto", "-Iinclude"]
faults = []
headers = sorted(pathlib.Path("src").rglob("*.h")) + [pathlib.Path("proto/wire.h")]
public = sorted(pathlib.Path("include").rglob("*.h"))
for header in headers + public:
    done = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-DRINGFEED_VERSION=\"0\"", "-Wall", "-Wextra", "-Werror",
                           *INCLUDES, "-fsyntax-only", "-x", "c", "-"],
                          input=f'#include "{header.resolve()}"\n', text=True, capture_output=True)
    if done.returncode:
        faults.append(f"{header}: {done.stderr}")
print("\n".join(faults) or f"{len(headers + public)} headers, each complete by itself")
sys.exit(1 if faults or not headers else 0)
