# SPDX-License-Identifier: MIT
"""Compiles every header of the library alone, and softlens.h as strict C and C++.

Usage: headers.py ROOT BUILD CC... [-- CXX...]. Python's standard library only."""

import pathlib
import subprocess
import sys


def compiles(command, language, header, root, build, flags):
    """Whether a file that includes nothing but `header`, twice, compiles without a warning."""
    text = f'#include "{header}"\n' * 2
    command = command + ["-x", language, "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                         f"-I{root / 'vision'}", f"-I{build / 'vision'}", *flags, "-"]
    run = subprocess.run(command, input=text, text=True, stderr=subprocess.PIPE, check=False)
    verdict = "ok" if run.returncode == 0 else "FAILED"
    print(f"{header} as {language} {' '.join(flags)}: {verdict}\n{run.stderr}", end="")
    return run.returncode == 0


def needs_vulkan(header, root, cc):
    """Whether a header wants those of Vulkan, directly or through vk.h, and there are none."""
    text = (root / "vision" / header).read_text(encoding="utf-8")
    if "<vulkan/vulkan_core.h>" not in text and '"vulkan/vk.h"' not in text:
        return False
    run = subprocess.run(cc + ["-x", "c", "-E", "-"], input="#include <vulkan/vulkan_core.h>\n",
                         text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         check=False)
    return run.returncode != 0


def main():
    root, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    compilers = sys.argv[3:]
    split = compilers.index("--") if "--" in compilers else len(compilers)
    cc, cxx = compilers[:split], compilers[split + 1:]
    headers = sorted(p.relative_to(root / "vision") for p in (root / "vision").rglob("*.h"))
    results = [compiles(cc, "c", header, root, build, ["-std=gnu17", "-D_GNU_SOURCE"])
               for header in headers if not needs_vulkan(header, root, cc)]
    results.append(compiles(cc, "c", "softlens.h", root, build, ["-std=c17", "-pedantic-errors"]))
    if cxx:
        results.append(compiles(cxx, "c++", "softlens.h", root, build,
                                ["-std=c++17", "-pedantic-errors"]))
    sys.exit(0 if len(results) > 8 and all(results) else 1)


if __name__ == "__main__":
    main()
