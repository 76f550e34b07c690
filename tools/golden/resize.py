# SPDX-License-Identifier: MIT
"""Writes tests/data/golden/resize.safetensors: pictures resized and cut by Pillow.

    python3 tools/golden/resize.py

Small cases hold the picture ("NAME.in", [h,w,3]) and its crop ("NAME.out", [crop,crop,3]); of large
ones, whose pixels are made by pattern(), there is the FNV-1a hash of the crop alone ("NAME.hash",
its eight bytes, lowest first). NAME is WIDTHxHEIGHT-SHORT-CROP. The geometry is that of torchvision's
Resize and of timm's evaluation: int() of the long side, round() of the offset."""

import os
import sys

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import safetensors  # noqa: E402

OUT = os.path.join(HERE, "..", "..", "tests", "data", "golden", "resize.safetensors")

# width, height, short side, crop
SMALL = [(40, 30, 15, 13), (23, 37, 16, 14), (31, 31, 16, 13), (5, 7, 12, 11), (1, 9, 10, 8),
         (9, 1, 9, 9), (1, 1, 7, 4), (2, 3, 8, 7), (90, 4, 8, 8), (3, 70, 9, 8), (16, 16, 16, 16),
         (64, 48, 1, 1), (57, 19, 19, 12)]
LARGE = [(500, 375, 248, 224), (375, 500, 248, 224), (64, 64, 248, 224), (1601, 1203, 72, 64),
         (224, 300, 248, 224), (3000, 20, 71, 64), (131, 4099, 248, 224), (4000, 4000, 32, 32)]


def pattern(width, height):
    """Pixels from 0 to 255 with edges, in which no channel is like another."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint32)
    planes = [(x * 7919 + y * 104729 + c * 31 + (x // 5) * (y // 3) * 13) % 251
              + ((x >> 3 ^ y >> 2 ^ c) & 1) * 4 for c in range(3)]
    return np.stack(planes, axis=2).astype(np.uint8)


def centre(picture, short, crop):
    """The crop of a picture [h,w,3] whose short side becomes `short`."""
    height, width = picture.shape[:2]
    if width <= height:
        size = (short, int(short * height / width))
    else:
        size = (int(short * width / height), short)
    image = Image.fromarray(picture).resize(size, Image.BICUBIC)
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def fnv1a(data):
    """The 64-bit FNV-1a hash of bytes, as eight bytes."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return np.frombuffer(h.to_bytes(8, "little"), dtype=np.uint8)


def main():
    rng = np.random.default_rng(5)
    tensors = {}
    for width, height, short, crop in SMALL:
        name = f"{width}x{height}-{short}-{crop}"
        picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        picture[rng.random((height, width)) < 0.4] = 255    # so that overshoot is cut off
        tensors[f"{name}.in"] = picture
        tensors[f"{name}.out"] = centre(picture, short, crop)
    for width, height, short, crop in LARGE:
        out = centre(pattern(width, height), short, crop)
        tensors[f"{width}x{height}-{short}-{crop}.hash"] = fnv1a(out.tobytes())
    safetensors.save(OUT, tensors)


if __name__ == "__main__":
    main()
