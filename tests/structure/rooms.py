# SPDX-License-Identifier: MIT
"""Reads the sources and reports what breaks the rules of the house: a room that includes from a
room it may not see, a file that is too long, a note left for later, a path of somebody's machine, a
command of a document that nobody can run.

Usage: rooms.py ROOT. Python's standard library only."""

import os
import pathlib
import re
import sys

# What each room under vision/ may include from, besides itself and softlens.h.
ROOMS = {
    "base": set(),
    "image": {"base"},
    "tensor": {"base"},
    "graph": {"base", "tensor"},
    "cpu": {"base", "tensor", "graph"},
    "vulkan": {"base", "tensor", "graph"},
    "net": {"base", "tensor", "graph"},
    "detect": {"base", "image", "tensor", "graph", "cpu", "net"},     # vectors of the SIMD level
    "classify": {"base", "image", "tensor", "graph", "cpu", "net"},   # matrix products of its own
}
ROOMS["pipeline"] = set(ROOMS)

FOLDERS = ["vision", "app", "tests", "tools", "examples", "models", "data", "docs", "completions",
           ".ci"]
SOURCES = {".c", ".h", ".py", ".sh"}
TEXTS = SOURCES | {".build", ".txt", ".md", ".1", ".bash", ".in"}
MAX_LINES = 500
PUBLIC = pathlib.PurePath("vision/softlens.h")    # one header, and the manual: it may be longer
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")     # in halves: this file is read, too
# A command as documents show it: a program of ours, or a script that Python is to run.
COMMAND = re.compile(r"^    (?:\w+=\S+ )*(python3 )?(tools/[\w./-]+)")
HOME = re.compile(r"(?<![\w.$}])/(home|root|Users|work)/")


def files(root):
    """Every file of text in the tree, relative to its root."""
    found = [p for p in root.iterdir() if p.is_file()]
    for folder in FOLDERS:
        found += [p for p in (root / folder).rglob("*") if p.is_file()]
    return sorted(p.relative_to(root) for p in found
                  if p.suffix in TEXTS or p.parts[-2:] == (".ci", "run"))


def room_error(path, quoted, name):
    """Why the file at `path` may not include `name`; None when it may."""
    area = path.parts[0]
    if area == "examples":
        return None if not quoted or name in ("softlens.h",) else "examples use <softlens.h> alone"
    if area not in ("vision", "app") or not quoted or name == "softlens.h":
        return None
    first, _, rest = name.partition("/")
    if ".." in name.split("/"):
        return "an include goes by its room, not by .."
    if area == "app":
        return None if not rest or first == "app" else "app/ stands on softlens.h alone"
    room = path.parts[1] if len(path.parts) > 2 else ""
    if not rest or first == room:
        return None
    if room not in ROOMS:
        return f"{room or 'vision'}/ is no room; rooms are listed in tests/structure/rooms.py"
    if first not in ROOMS[room]:
        return f"{room}/ may not look into {first}/"
    return None


def cannot_run(root, line):
    """Why a document's line is no command that can be typed; None where it can, or is none at all."""
    command = COMMAND.match(line)
    if not command:
        return None
    if not (root / command[2]).is_file():
        return f"{command[2]} is not there"
    if not command[1] and not os.access(root / command[2], os.X_OK):
        return f"{command[2]} cannot be executed; show it behind python3, or chmod +x it"
    return None


def check_file(root, path):
    """Yields (line number, what is wrong)."""
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    if path.suffix in SOURCES:
        if len(lines) > MAX_LINES and path != PUBLIC:
            yield len(lines), f"longer than {MAX_LINES} lines; split it by topic"
        if not any("SPDX-License-Identifier: MIT" in line for line in lines[:3]):
            yield 1, "no SPDX-License-Identifier: MIT on top"
    for number, line in enumerate(lines, 1):
        if LATER.search(line):
            yield number, "a note for later; do it or leave it out"
        if HOME.search(line):
            yield number, "a path of one machine"
        error = cannot_run(root, line) if path.suffix == ".md" else None
        if error:
            yield number, error
        include = INCLUDE.match(line) if path.suffix in (".c", ".h") else None
        error = include and room_error(path, include[1] == '"', include[2])
        if error:
            yield number, f'"{include[2]}": {error}'


def check(root):
    """Returns one line for each thing that is wrong."""
    return [f"{path}:{number}: {error}" for path in files(root)
            for number, error in check_file(root, path)]


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    if not (root / "vision" / "softlens.h").is_file():
        sys.exit(f"{root}: vision/softlens.h is missing; name the root of the source tree")
    errors = check(root)
    print("\n".join(errors) or f"{len(files(root))} files are as they should be")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
