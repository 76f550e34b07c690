# SPDX-License-Identifier: MIT
"""Writes tests/data/golden/fit.safetensors: pictures resized by OpenCV.

    python3 tools/golden/fit.py

"NAME.in" [h,w,3], "NAME.out" [H,W,3] by INTER_LINEAR and, where the picture shrinks to less than
half, "NAME.area" by INTER_AREA. NAME is w x h - W x H."""

import os
import sys

import cv2
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import safetensors  # noqa: E402

OUT = os.path.join(HERE, "..", "..", "tests", "data", "golden", "fit.safetensors")
SIZES = [(40, 30, 20, 15), (40, 30, 27, 19), (23, 37, 46, 74), (31, 17, 13, 7), (1, 1, 3, 2),
         (1, 9, 4, 3), (9, 1, 5, 5), (64, 48, 7, 5), (50, 50, 50, 50), (97, 41, 32, 14),
         (16, 12, 33, 25), (60, 20, 30, 9)]


def main():
    rng = np.random.default_rng(6)
    tensors = {}
    for w, h, width, height in SIZES:
        name = f"{w}x{h}-{width}x{height}"
        picture = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
        tensors[f"{name}.in"] = picture
        tensors[f"{name}.out"] = cv2.resize(picture, (width, height),
                                            interpolation=cv2.INTER_LINEAR)
        if w > 2 * width and h > 2 * height:
            tensors[f"{name}.area"] = cv2.resize(picture, (width, height),
                                                 interpolation=cv2.INTER_AREA)
    safetensors.save(OUT, tensors)


if __name__ == "__main__":
    main()
