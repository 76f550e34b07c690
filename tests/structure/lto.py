# SPDX-License-Identifier: MIT
"""Compiles the font as a build with link-time optimisation does, and looks for its symbols: they come
from assembly, where that sees none, and the program would not link.

Usage: lto.py BUILD NM... Python's standard library only."""

import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

SYMBOLS = {"sl_font_data", "sl_font_data_end"}


def main():
    build, nm = pathlib.Path(sys.argv[1]), sys.argv[2:]
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    command = next(shlex.split(c["command"]) for c in commands
                   if c["file"].endswith("/font_data.c"))
    first = next(i for i, word in enumerate(command) if word.startswith("-"))
    with tempfile.TemporaryDirectory() as folder:
        for option, name in (("-o", "font.o"), ("-MF", "font.d")):
            command[command.index(option) + 1] = f"{folder}/{name}"
        subprocess.run(command[:first] + ["-flto"] + command[first:], cwd=build, check=True)
        listing = subprocess.run(nm + ["--defined-only", f"{folder}/font.o"], text=True,
                                 check=False, stdout=subprocess.PIPE).stdout
    missing = SYMBOLS - {line.split()[-1] for line in listing.splitlines() if line}
    print(f"missing: {sorted(missing)}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
