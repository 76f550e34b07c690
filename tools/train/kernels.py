# SPDX-License-Identifier: MIT
"""Fast pieces of a training step: kernels.c, compiled at first use; else PyTorch's own.

In bf16 where the processor multiplies it, else in f32.
"""

import torch
from torch.nn import functional as F

import compiled


def _product_dtype():
    try:
        with open("/proc/cpuinfo") as file:
            return torch.bfloat16 if "avx512_bf16" in file.read() else torch.float32
    except OSError:
        return torch.float32


PRODUCTS = _product_dtype()


_library = compiled.library(["attention.c", "kernels.c"], "-fno-trapping-math",
                            *(["-DWITH_F32"] if PRODUCTS == torch.float32 else []))
_LANES = _library.lane_count() if _library else 16


def _call(name, *values):
    compiled.call(_library, name, *values)


def gelu(x):
    if _library is None or x.dtype != PRODUCTS or x.numel() % _LANES:
        return F.gelu(x)
    return compiled.Gelu.apply(x.contiguous(), _library)


class _LeffMiddle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        n, _, c = x.shape
        w = weight.view(c, 9).t().contiguous()
        y, z = torch.empty_like(x), torch.empty_like(x)
        _call("leff_forward", x, w, bias, z, y, n, c)
        ctx.save_for_backward(x, z, w)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, z, w = ctx.saved_tensors
        n, _, c = x.shape
        dx, sums = torch.empty_like(x), torch.zeros(c // _LANES, 10, _LANES)
        _call("leff_backward", x, z, dy.contiguous(), w, dx, sums, n, c)
        sums = sums.transpose(1, 2).reshape(c, 10)
        return dx, sums[:, :9].reshape(c, 1, 3, 3), sums[:, 9]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, bias, masks, which, heads):
        n, t, c = qkv.shape
        y = torch.empty(n, t, c // 3, dtype=qkv.dtype)
        _call("attention_forward", qkv, bias, masks, which, y, n, heads, c // 3 // heads)
        ctx.save_for_backward(qkv, bias, masks, which)
        ctx.heads = heads
        return y

    @staticmethod
    def backward(ctx, dy):
        qkv, bias, masks, which = ctx.saved_tensors
        n, _, c = qkv.shape
        dqkv, dbias = torch.empty_like(qkv), torch.zeros_like(bias)
        _call("attention_backward", qkv, bias, masks, which, dy.contiguous(), dqkv, dbias, n,
              ctx.heads, c // 3 // ctx.heads)
        return dqkv, dbias, None, None, None


def attend(qkv, heads, bias, mask):
    which = torch.full((qkv.shape[0],), -1)
    masks = bias.detach()
    if mask is not None:
        masks = mask[1].contiguous()
        which[mask[0]] = torch.arange(len(mask[0]))
    return _Attention.apply(qkv.contiguous(), bias.contiguous(), masks, which, heads)


def install(model):
    """Makes a model train with these kernels, as far as they are there and fit."""
    model.product_dtype, model.gelu = PRODUCTS, gelu
    e, window = model.config["embed_dim"], model.config["window"]
    if _library is None or window != 8:
        return
    if e * model.config["mlp_ratio"] % _LANES == 0:
        model.leff_middle = lambda x, conv: _LeffMiddle.apply(x, conv.weight, conv.bias)
    if all(c // h <= 32 for c, h in zip(model.widths(), model.config["heads"])):
        model.attend = attend
