# SPDX-License-Identifier: MIT
"""What is done without a network: unsharp masking, and Wiener deconvolution that is told the truth.

Both work on the blurred region alone, which a user would first have to draw. Wiener's filter also
learns the true length of the path, and tries every direction and noise level against the sharp
picture: no photographer could do as well with it.
"""

import cv2
import numpy as np

DIRECTIONS = 12
NOISE = (0.003, 0.01, 0.03, 0.1)        # noise to signal, by power
GAMMA = 2.2                             # light adds up before the camera's curve


def within(mask, changed, picture):
    return np.where(mask[..., None] > 0, changed, picture)


def unsharp(picture, mask, sigma=2.0, amount=0.6):
    blurred = cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.float32)
    sharper = picture + amount * (picture.astype(np.float32) - blurred)
    return within(mask, np.clip(np.round(sharper), 0, 255).astype(np.uint8), picture)


def line_kernel(length, angle, side):
    """A straight path of `length` pixels through the middle of a square, its sum one."""
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    for t in np.linspace(-0.5, 0.5, int(8 * length) + 1) * length:
        x, y = middle + t * np.cos(angle), middle + t * np.sin(angle)
        left, top = int(x), int(y)
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
                kernel[min(top + dy, side - 1), min(left + dx, side - 1)] += weight
    return kernel / kernel.sum()


def deconvolved(light, kernel, noise):
    """Wiener's filter on [H, W, 3]; the picture is mirrored at its edges."""
    margin = kernel.shape[0]
    wide = cv2.copyMakeBorder(light, *(margin,) * 4, cv2.BORDER_REFLECT)
    padded = np.zeros(wide.shape[:2], np.float32)
    padded[:margin, :margin] = kernel
    padded = np.roll(padded, (-(margin // 2),) * 2, (0, 1))
    response = np.fft.rfft2(padded)
    filtered = np.conj(response) / (np.abs(response) ** 2 + noise)
    result = np.fft.irfft2(np.fft.rfft2(wide, axes=(0, 1)) * filtered[..., None],
                           wide.shape[:2], axes=(0, 1))
    return result[margin:-margin, margin:-margin]


def region(mask, margin):
    """Slices of the mask's box with a margin."""
    ys, xs = np.nonzero(mask)
    return (slice(max(int(ys.min()) - margin, 0), int(ys.max()) + margin + 1),
            slice(max(int(xs.min()) - margin, 0), int(xs.max()) + margin + 1))


def wiener(picture, mask, length, sharp):
    """The best result of all directions and noise levels by the squared error to `sharp`."""
    side = 2 * (int(np.ceil(length)) // 2) + 3
    box = region(mask, side)
    inside = mask[box] > 0
    light = (picture[box] / 255.0) ** GAMMA
    best, least = picture, np.inf
    for k in range(DIRECTIONS):
        kernel = line_kernel(length, np.pi * k / DIRECTIONS, side)
        for noise in NOISE:
            shown = np.clip(deconvolved(light, kernel, noise), 0, 1) ** (1 / GAMMA) * 255
            error = np.square(shown[inside] - sharp[box][inside]).mean()
            if error < least:
                least, best = error, picture.copy()
                best[box][inside] = np.round(shown[inside]).astype(np.uint8)
    return best
