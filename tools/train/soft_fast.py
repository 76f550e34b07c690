# SPDX-License-Identifier: MIT
"""SOFT-Norm's attention and GELU for training on a CPU: soft_kernels.c, compiled at first use.

The gradient of the inverse is the closed form -Z dZ Z, as the official plain SOFT has it. Where
the kernels do not fit (no compiler, other head widths, more than 16 landmarks), PyTorch runs.
"""

import types

import torch
from torch.nn import functional as F

import compiled
import soft
import soft_card

WIDTH, MOST = 32, 16

_library = compiled.library(["soft_kernels.c"], "-ffp-contract=fast", "-fno-math-errno")


def _call(name, *values):
    compiled.call(_library, name, *values)


def gelu(x):
    """tanh-GELU of a contiguous tensor whose size is a multiple of 8."""
    if _library is None or x.numel() % 8:
        return F.gelu(x, approximate="tanh")
    return compiled.Gelu.apply(x.contiguous(), _library)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, v, marks, kernel, h, w, iterations):
        b, n, c = q.shape
        heads, m, size = marks.shape[1], marks.shape[2], kernel.shape[-1]
        o = torch.empty_like(q)
        k1 = torch.empty(b, heads, n, MOST)
        k2, z = torch.empty(2, b, heads, MOST, MOST)
        y = torch.empty(b, heads, MOST, WIDTH)
        _call("attention_forward", q, v, marks, kernel, o, k1, k2, z, y, b, heads, h, w, m, size,
              iterations)
        ctx.save_for_backward(q, v, marks, kernel, k1, k2, z, y)
        ctx.shape = b, heads, h, w, m, size
        return o

    @staticmethod
    def backward(ctx, do):
        q, v, marks, kernel, *kept = ctx.saved_tensors
        gradients = [torch.zeros_like(t) for t in (q, v, marks, kernel)]
        scratch = torch.empty(q.shape[1], MOST)
        _call("attention_backward", q, v, marks, kernel, do.contiguous(), *kept, *gradients,
              scratch, *ctx.shape)
        return (*gradients, None, None, None)


def attend(mha, x, h, w):
    """mha.forward, faster."""
    attn, c = mha.attn, x.shape[-1]
    count = attn.landmarks
    if count == "ratio":
        count = (h // attn.ratio) * (w // attn.ratio)
    fits = _library is not None and c == WIDTH * mha.heads and count <= MOST \
        and attn.inverse is soft.inverse_norm
    if not fits:
        return type(mha).forward(mha, x, h, w)
    q = mha.W_q(x) / WIDTH ** 0.25
    patches = soft_card.landmark_patches(attn, q, h, w, mha.heads)
    marks = attn.Qnorm_act(F.linear(patches, attn.Qlandmark_op.weight.flatten(1)))
    o = _Attention.apply(q, mha.W_v(x), marks.contiguous(), attn.conv.weight, h, w,
                         attn.iterations)
    return mha.ff(o)


def layer(block, x, h, w):
    """SoftBlock.forward with the fast pieces."""
    own = block.att
    m = own.norm1(x + soft_card.dropped(block, attend(own.mha, x, h, w)))
    return own.norm2(m + soft_card.dropped(block, own.ff2(gelu(own.ff1(m)))))


def install(model, drop_path=0.0):
    """Makes a model of soft.py run with these kernels; as soft_card.install."""
    soft_card.install(model, drop_path)
    for block in (b for s in (1, 2, 3) for b in getattr(model, f"block{s}")):
        block.forward = types.MethodType(layer, block)
