# SPDX-License-Identifier: MIT
"""What every long run on a CPU needs: memory kept, denormals flushed, files replaced whole."""

import ctypes
import os

import torch


def keep_memory():
    """Lets glibc keep what is freed: otherwise an eighth of a step goes into page faults."""
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    libc = ctypes.CDLL(None)
    for parameter, value in [(mmap_threshold, 1 << 30), (trim_threshold, (1 << 31) - 1),
                             (top_pad, 1 << 27)]:
        libc.mallopt(parameter, value)


def prepare():
    keep_memory()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def save(path, content):
    torch.save(content, path + ".part")
    os.replace(path + ".part", path)
