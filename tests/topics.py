# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every message is about a topic of src/base/topics.def, and every topic has messages."""
import pathlib
import re
import sys

topics = set(re.findall(r"^TOPIC\((\w+),", pathlib.Path("src/base/topics.def").read_text(), re.M))
used, faults = set(), []
for path in sorted(pathlib.Path("src").rglob("*.c")):
    for topic in re.findall(r"\blog_(?:error|warn|info|debug)\(\s*(\"?\w*\"?)", path.read_text()):
        used.add(topic.strip('"'))
        if topic.strip('"') not in topics:
            faults.append(f"{path}: {topic} is no topic")
faults += [f"nothing is said about {t}" for t in topics - used]
print("\n".join(faults) or f"{len(topics)} topics")
sys.exit(1 if faults or not topics else 0)
