# SPDX-License-Identifier: MIT
"""Weights that a test in any language can make for itself, bit for bit, from names and shapes.

Element i (from 0, row-major) of the tensor NAME:

    seed = FNV-1a, 64 bits, of NAME's bytes (offset 0xcbf29ce484222325, prime 0x100000001b3)
    z = seed + (i + 1) * 0x9e3779b97f4a7c15                     all modulo 2^64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb
    z = z ^ (z >> 31)
    t = ((int)(z >> 52) - 2048) / 2048.0f                       in [-1, 1), exact

and the value is c + a * t in f32. Every a is a power of two, so a * t is exact and only the sum is
rounded, once: a fused multiply-add gives the same bits. The first rule that fits the name, without
a "backbone." in front of it, holds:

    ends in ".running_var"              c = 1       a = 1/2
    ends in ".running_mean"             c = 0       a = 1/2
    ends in "Qnorm_act.0.weight"        c = 0.375   a = 1/8
    ends in ".weight", one dimension    c = 1       a = 1/4
    ends in ".bias"                     c = 0       a = 1/8
    begins with "pos_embed", "cls_token"    c = 0   a = 1/2
    ends in "W_q.weight"                c = 0       a = 2^-(k+1), k as below
    begins with "bbox_head."            c = 0       a = 2^-(k-2), k as below
    all others                          c = 0       a = 2^-k, with the smallest k for which
                                        3 * 4^k >= 2 * f, f = elements / first dimension

A picture [H, W, 3] of normalised f32 values is 1.5 * coarse + 0.5 * fine, where fine is t of the
tensor "image" [H, W, 3], and coarse at (y, x, channel) is t of the tensor "image.coarse"
[ceil(H/16), ceil(W/16), 3] at (y / 16, x / 16, channel): exact again.
"""

import numpy as np


def fnv1a(name):
    h = 0xcbf29ce484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001b3 % 2 ** 64
    return h


def units(name, shape):
    """t of every element, f32."""
    i = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    z = i * np.uint64(0x9e3779b97f4a7c15) + np.uint64(fnv1a(name))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
    z = z ^ (z >> np.uint64(31))
    whole = (z >> np.uint64(52)).astype(np.int32) - 2048
    return (whole.astype(np.float32) / np.float32(2048)).reshape(shape)


def rule(name, shape):
    """(c, a)"""
    name = name.removeprefix("backbone.")
    k = 0
    while 3 * 4 ** k < 2 * int(np.prod(shape[1:])):
        k += 1
    if name.endswith(".running_var"):
        return 1, 0.5
    if name.endswith(".running_mean"):
        return 0, 0.5
    if name.endswith("Qnorm_act.0.weight"):
        return 0.375, 0.125
    if name.endswith(".weight") and len(shape) == 1:
        return 1, 0.25
    if name.endswith(".bias"):
        return 0, 0.125
    if name.startswith(("pos_embed", "cls_token")):
        return 0, 0.5
    if name.startswith("bbox_head."):
        return 0, 2.0 ** -(k - 2)
    return 0, 2.0 ** -(k + name.endswith("W_q.weight"))


def tensor(name, shape):
    c, a = rule(name, shape)
    return np.float32(c) + np.float32(a) * units(name, shape)


def image(h, w):
    """f32 [h, w, 3]"""
    coarse = units("image.coarse", ((h + 15) // 16, (w + 15) // 16, 3))
    coarse = coarse[np.arange(h) // 16][:, np.arange(w) // 16]
    return np.float32(1.5) * coarse + np.float32(0.5) * units("image", (h, w, 3))
