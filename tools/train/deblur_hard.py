# SPDX-License-Identifier: MIT
"""Finds what a model changes most in sharp training photographs, and writes it into a store of pairs
whose targets are their inputs: textures and blur that belong to the photograph."""

import argparse
import os
import subprocess
import tempfile

import cv2
import numpy as np

import deblur_pairs
import deblur_synth
import picture_file

SIDE = 256          # of a block
CELL = 64           # change is summed up over squares of this side
OF_ONE = 12         # blocks of one photograph, at most


def changes(binary, model, source, side, folder):
    """[(photo, change)]: sharp photographs, and the model's squared change of each pixel."""
    sharp, changed = (os.path.join(folder, name) for name in ("sharp", "changed"))
    os.makedirs(sharp)
    for i, name in enumerate(source.photos):
        photo = source.photo(name, side)
        noisy = deblur_synth.sensor(np.random.default_rng([1, i]), photo.astype(np.float32))
        cv2.imwrite(os.path.join(sharp, f"{i:05}.png"), noisy[..., ::-1],
                    [cv2.IMWRITE_PNG_COMPRESSION, 1])
    subprocess.run([binary, "batch", "deblur", sharp, "-o", changed, "--model", model, "--device",
                    "cpu", "--quiet"], check=True)
    for i, name in enumerate(source.photos):
        before, after = (picture_file.read(os.path.join(f, f"{i:05}.png")).astype(np.float32) / 255
                         for f in (sharp, changed))
        yield source.photo(name, side), np.square(before - after).mean(-1)


def candidates(photo, change):
    """[(mean square of change, block)] of the cells that change most, as far as any change."""
    h, w = change.shape
    if min(h, w) < SIDE:
        return []
    cells = cv2.blur(change, (CELL, CELL))[CELL // 2::CELL, CELL // 2::CELL]
    found = []
    for k in np.argsort(cells, None)[::-1][:OF_ONE]:
        y, x = (int(v) * CELL + CELL // 2 for v in np.unravel_index(k, cells.shape))
        if cells.flat[k] == 0:
            break
        top, left = (int(np.clip(v - SIDE // 2, 0, n - SIDE)) for v, n in ((y, h), (x, w)))
        found.append((float(cells.flat[k]), photo[top:top + SIDE, left:left + SIDE].copy()))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--binary", default="build/softlens")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True, help="folder of the store")
    parser.add_argument("--count", type=int, default=1000, help="blocks")
    parser.add_argument("--side", type=int, default=512, help="long side of the photographs")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source = deblur_synth.Source(args.data)
        for photo, change in changes(args.binary, args.model, source, args.side, folder):
            found += candidates(photo, change)
    found = sorted(found, key=lambda f: -f[0])[:args.count]
    if not found:
        raise SystemExit(f"{args.model} changes no sharp photograph of {args.data}")
    os.makedirs(args.out, exist_ok=True)
    rng, end = np.random.default_rng(1), 0
    with open(os.path.join(args.out, "0.raw"), "wb") as raw, \
            open(os.path.join(args.out, "0.csv"), "w") as index:
        for _, block in found:
            noisy = deblur_synth.sensor(rng, block.astype(np.float32))
            end = deblur_pairs.append(raw, index, end,
                                      (noisy, block, np.zeros((SIDE, SIDE), np.uint8), 0))
    print(f"{len(found)} blocks, changed by {-10 * np.log10(found[0][0]):.1f} to "
          f"{-10 * np.log10(found[-1][0]):.1f} dB")


if __name__ == "__main__":
    main()
