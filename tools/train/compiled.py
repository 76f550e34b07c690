# SPDX-License-Identifier: MIT
"""C beside the trainers, compiled for this processor at first use."""

import ctypes
import os
import subprocess
import tempfile

import torch

_FLAGS = ["-O3", "-march=native", "-fPIC", "-shared", "-Wno-psabi"]


def library(sources, *flags):
    """Files beside this one, as a library; None where nothing compiles them."""
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "compiled.so")
        try:
            subprocess.run(["cc", *_FLAGS, *flags, *(os.path.join(here, s) for s in sources), "-o",
                            path, "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return ctypes.CDLL(path)


def argument(value):
    """Tensors go as pointers (None: a null one), numbers as size_t; lists of tensors and tuples of
    numbers as arrays of those."""
    if isinstance(value, int):
        return ctypes.c_size_t(value)
    if isinstance(value, tuple):
        return (ctypes.c_size_t * len(value))(*value)
    if isinstance(value, list):
        return (ctypes.c_void_p * len(value))(*(v if v is None else v.data_ptr() for v in value))
    return ctypes.c_void_p(value if value is None else value.data_ptr())


def call(code, name, *values):
    """What the function returns, if it returns an int."""
    return getattr(code, name)(*map(argument, values))


class Gelu(torch.autograd.Function):
    """gelu_forward and gelu_backward of a library."""

    @staticmethod
    def forward(ctx, x, code):
        ctx.save_for_backward(x)
        ctx.code = code
        y = torch.empty_like(x)
        call(code, "gelu_forward", x, y, x.numel())
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        call(ctx.code, "gelu_backward", x, dy.contiguous(), dx, x.numel())
        return dx, None
