# SPDX-License-Identifier: MIT
"""Makes data/: gives a sharp photograph the blur of a subject that moved during the exposure.

The subject, a polygon with a soft edge, is averaged in linear light over the places of a short
curved path, before a background that fills the gap behind it. Everything else stays as it was.

Usage: make_sample.py SKIMAGE_DATA OUTPUT_DIR (Debian: python3-skimage, python3-numpy, python3-pil;
the first is /usr/lib/python3/dist-packages/skimage/data)."""

import os
import shutil
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# The woman with her helmet, in pixels of astronaut.png.
SUBJECT = [(97, 530), (50, 500), (18, 462), (24, 400), (36, 330), (58, 270), (88, 238), (112, 214),
           (110, 186), (122, 162), (150, 150), (170, 136), (160, 116), (152, 92), (158, 60),
           (172, 32), (196, 18), (226, 12), (262, 18), (290, 36), (303, 66), (300, 98), (284, 120),
           (262, 134), (262, 150), (290, 170), (306, 200), (304, 226), (330, 250), (348, 290),
           (360, 340), (384, 342), (430, 350), (470, 378), (494, 430), (506, 470), (508, 530)]
MARGIN = 17     # generous, so that no rim of the subject stands still
STEPS = 48


def path(t):
    """Where the subject is at t in 0..1, as (dx, dy) pixels: 11 to the right, in an arc."""
    return 11.0 * (t - 0.5), 3.0 * (1 - 4 * (t - 0.5) ** 2) - 2.0


def to_linear(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def to_srgb(x):
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def moved(x, dx, dy):
    """x [H, W, C] shifted right and down by fractions of a pixel; edges repeat."""
    height, width = x.shape[:2]
    out = np.zeros_like(x)
    for oy in (0, 1):
        for ox in (0, 1):
            row, column = int(np.floor(dy)) + oy, int(np.floor(dx)) + ox
            weight = (1 - abs(dy - row)) * (1 - abs(dx - column))
            rows = np.clip(np.arange(height) - row, 0, height - 1)
            columns = np.clip(np.arange(width) - column, 0, width - 1)
            out += weight * x[rows][:, columns]
    return out


def filled(x, known):
    """x with its unknown parts filled from around: averages of ever coarser neighbourhoods."""
    if x.shape[0] < 2 or x.shape[1] < 2:
        return x
    weighted, total = x * known, known
    height, width = (x.shape[0] + 1) // 2, (x.shape[1] + 1) // 2
    pad = [(0, 2 * height - x.shape[0]), (0, 2 * width - x.shape[1]), (0, 0)]
    halve = [np.pad(a, pad).reshape(height, 2, width, 2, -1).sum((1, 3)) for a in (weighted, total)]
    mean = halve[0] / np.maximum(halve[1], 1e-6)
    coarse = filled(mean, np.minimum(halve[1], 1))
    fine = coarse.repeat(2, 0).repeat(2, 1)[:x.shape[0], :x.shape[1]]
    return weighted + (1 - known) * fine


def blurred(photo):
    mask = Image.new("L", photo.size, 0)
    ImageDraw.Draw(mask).polygon(SUBJECT, fill=255)
    mask = mask.filter(ImageFilter.MaxFilter(MARGIN))
    wide = mask.filter(ImageFilter.MaxFilter(7))
    alpha = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.5)), float)[:, :, None] / 255
    hidden = np.asarray(wide.filter(ImageFilter.GaussianBlur(1)), float)[:, :, None] / 255
    sharp = to_linear(np.asarray(photo.convert("RGB"), float) / 255)
    behind = filled(sharp, 1 - hidden)
    total, touched = np.zeros_like(sharp), np.zeros_like(alpha)
    for step in range(STEPS):
        shift = path((step + 0.5) / STEPS)
        cover = moved(alpha, *shift)
        total += (cover * moved(sharp, *shift) + (1 - cover) * behind) / STEPS
        touched = np.maximum(touched, cover)
    blend = np.minimum(touched * 4, 1)      # where the subject never came, the photograph itself
    out = to_srgb(np.clip(blend * total + (1 - blend) * sharp, 0, 1))
    return Image.fromarray(np.round(out * 255).astype(np.uint8))


def main():
    source, output = sys.argv[1:3]
    photo = Image.open(os.path.join(source, "astronaut.png"))
    path_out = os.path.join(output, "sample.jpg")
    blurred(photo).save(path_out, quality=93, subsampling=0)
    shutil.copyfile(os.path.join(source, "clock_motion.png"),
                    os.path.join(output, "clock-motion.png"))


if __name__ == "__main__":
    main()
