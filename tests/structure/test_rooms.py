# SPDX-License-Identifier: MIT
"""Holds rooms.py to small trees, each of which breaks one rule or none."""

import pathlib
import tempfile
import unittest

import rooms

SPDX = "// SPDX-License-Identifier: MIT\n"


def errors(path, text):
    """What rooms.check says about a tree of one file."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / path
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        return rooms.check(pathlib.Path(folder))


class Rooms(unittest.TestCase):
    def includes(self, path, name):
        return errors(path, f"{SPDX}#include {name}\n")

    def test_what_is_allowed(self):
        for path, name in [("vision/base/a.c", '"softlens.h"'), ("vision/net/a.c", '"graph/graph.h"'),
                           ("vision/pipeline/a.c", '"cpu/cpu.h"'), ("vision/cpu/simd/a.c", '"vec.h"'),
                           ("vision/cpu/a.c", '"cpu/op.h"'), ("vision/tensor/a.c", "<zip.h>"),
                           ("app/a.c", '"app.h"'), ("app/a.c", '"softlens.h"'),
                           ("tests/net/a.c", '"cpu/cpu.h"'),
                           ("vision/classify/a.c", '"cpu/kernels.h"'), ("examples/a.c", "<softlens.h>")]:
            with self.subTest(path=path, name=name):
                self.assertEqual(self.includes(path, name), [])

    def test_what_is_not(self):
        for path, name in [("vision/base/a.c", '"image/image.h"'), ("vision/net/a.h", '"cpu/cpu.h"'),
                           ("vision/graph/a.c", '"cpu/cpu.h"'), ("vision/image/a.c", '"tensor/tensor.h"'),
                           ("vision/cpu/a.c", '"net/net.h"'), ("vision/cpu/a.c", '"../net/net.h"'),
                           ("vision/attic/a.c", '"base/base.h"'), ("app/a.c", '"base/base.h"'),
                           ("examples/a.c", '"base/base.h"')]:
            with self.subTest(path=path, name=name):
                self.assertEqual(len(self.includes(path, name)), 1)

    def test_length(self):
        self.assertEqual(errors("app/a.c", SPDX + "\n" * 499), [])
        self.assertEqual(len(errors("app/a.c", SPDX + "\n" * 500)), 1)
        self.assertEqual(len(errors("vision/a.h", SPDX + "\n" * 500)), 1)
        self.assertEqual(errors("vision/softlens.h", SPDX + "\n" * 500), [])

    def test_licence(self):
        self.assertEqual(len(errors("app/a.c", "int a;\n")), 1)
        self.assertEqual(errors("docs/a.md", "# a\n"), [])

    def test_words(self):
        for text in ["TO" + "DO: more", "FIX" + "ME", "/ho" + "me/me/x", "'/ro" + "ot/x'"]:
            with self.subTest(text=text):
                self.assertEqual(len(errors("docs/a.md", text + "\n")), 1)
        self.assertEqual(errors("docs/a.md", "https://example.org/ho" + "me/x\n"), [])

    def test_commands(self):
        for line, wrong in [("    tools/a.sh  # b", 1), ("    python3 tools/a.py --b", 1),
                            ("    A=1 tools/a.sh", 1), ("see tools/a.sh", 0), ("    ls tools/a.sh", 0)]:
            with self.subTest(line=line):
                self.assertEqual(len(errors("docs/a.md", line + "\n")), wrong)
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "tools").mkdir()
            (root / "tools/a.py").touch(mode=0o644)
            self.assertIsNone(rooms.cannot_run(root, "    python3 tools/a.py"))
            self.assertIn("executed", rooms.cannot_run(root, "    tools/a.py"))
            (root / "tools/a.py").chmod(0o755)
            self.assertIsNone(rooms.cannot_run(root, "    tools/a.py"))


if __name__ == "__main__":
    unittest.main()
