# SPDX-License-Identifier: MIT
"""Compares what libsoftlens.so exports with what softlens.h declares: the same, no more, no less.

Usage: exports.py SOFTLENS_H LIBRARY NM... Python's standard library only."""

import re
import subprocess
import sys


def main():
    header, library, nm = sys.argv[1], sys.argv[2], sys.argv[3:]
    with open(header, encoding="utf-8") as file:
        declared = set(re.findall(r"^SL_API[^;(]*?\b(\w+)\(", file.read(), re.MULTILINE))
    listing = subprocess.run(nm + ["-D", "--defined-only", library], text=True, check=True,
                             stdout=subprocess.PIPE).stdout
    exported = {line.split()[-1].partition("@")[0] for line in listing.splitlines()}
    for name in sorted(declared - exported):
        print(f"{name}: declared in softlens.h, but not exported")
    for name in sorted(exported - declared):
        print(f"{name}: exported, but not in softlens.h")
    print(f"{len(declared)} declared, {len(exported)} exported")
    sys.exit(0 if declared and declared == exported else 1)


if __name__ == "__main__":
    main()
