# SPDX-License-Identifier: MIT
"""How OpenBLAS and OpenMP are to run. To be called before NumPy and PyTorch are imported."""

import os


def flags():
    """What Linux says that the processor can do, as a set of words; empty where it does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()


def settle(threads=None):
    """Threads that sleep while they wait, `threads` of them if given, and the kernels that fit.

    An OpenBLAS older than the processor (Debian 12 has that of 2022) takes it for the plainest one:
    products of f32 are then several times slower than they need be.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))     # it has threads of its own
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags():
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
