# SPDX-License-Identifier: MIT
"""What the processor can do, and how OpenBLAS and OpenMP are to run on it. To be called before NumPy
and PyTorch are imported."""

import os


def _says(key):
    """What Linux says of the first processor, as a set of words; empty where it does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith(key)), "")
    except OSError:
        line = ""
    return set(line.partition(":")[2].split())


def products_in_bf16():
    """Whether they are faster so: by matrix tiles, or by dot products of pairs where these take twice
    as many numbers in the same time. Intel's without tiles do not."""
    flags = _says("flags")
    return "amx_bf16" in flags or ("avx512_bf16" in flags and "AuthenticAMD" in _says("vendor_id"))


def settle(threads=None):
    """Threads that sleep while they wait, `threads` of them if given, and the kernels that fit.

    An OpenBLAS older than the processor (Debian 12 has that of 2022) takes it for the plainest one,
    and an environment may name another: products of f32 are then several times slower than they
    need be.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))     # it has threads of its own
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= _says("flags"):
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
