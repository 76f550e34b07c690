# SPDX-License-Identifier: MIT
"""GELU for bf16 tensors through gelu.c, compiled at first use; without a compiler, PyTorch's."""

import ctypes
import os
import subprocess
import tempfile

import torch
from torch.nn import functional as F

_FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fPIC"]


def _compile():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gelu.c")
    with tempfile.TemporaryDirectory() as folder:
        path, part = os.path.join(folder, "gelu.so"), os.path.join(folder, "gelu.o")
        try:    # linked without -ffast-math: that would flush denormals in the whole process
            subprocess.run(["cc", *_FLAGS, "-c", source, "-o", part], check=True)
            subprocess.run(["cc", "-shared", part, "-o", path, "-lm"], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return ctypes.CDLL(path)


_library = _compile()


def _pointer(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        _library.gelu_forward(_pointer(x), _pointer(y), ctypes.c_size_t(x.numel()))
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        if dy.stride() != x.stride():
            dy = torch.empty_like(x).copy_(dy)
        dx = torch.empty_like(x)
        _library.gelu_backward(_pointer(x), _pointer(dy), _pointer(dx),
                               ctypes.c_size_t(x.numel()))
        return dx


def _is_dense(x):
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def gelu(x):
    if _library is None or x.dtype != torch.bfloat16 or not _is_dense(x):
        return F.gelu(x)
    return _Gelu.apply(x)
