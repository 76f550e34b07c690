# SPDX-License-Identifier: MIT
"""SOFT-Norm for training on a graphics card: soft.py's blocks in few large steps, PyTorch alone.

Made for autocast: the projections and the convolution of V are in its type, all else of attention in
f32. The gradient of the inverse is the closed form -Z dZ Z. Nothing here waits for the device.
"""

import math
import types

import torch
from torch.nn import functional as F

import soft


def norm_start(k2):
    """soft.norm_start without its loop: the residuals of all halvings at once."""
    alpha = 2 / k2.sum(-1).amax((1, 2)).square()[:, None, None, None]
    product = k2 @ (alpha * k2)
    unit = torch.eye(k2.shape[-1], dtype=k2.dtype, device=k2.device)
    halves = 0.5 ** torch.arange(soft.HALVINGS, dtype=k2.dtype, device=k2.device)
    scaled = halves.view(-1, 1, 1, 1, 1) * product
    residual = (unit - scaled).abs().sum(-2).amax((2, 3))               # [halvings, B]
    over = (residual > soft.LEAST_RESIDUAL).to(k2.dtype)
    count = over.cumprod(0).sum(0)          # of those before the first that is small enough
    return alpha * torch.exp2(-count)[:, None, None, None]


class Inverse(torch.autograd.Function):
    """Newton's iteration of SOFT-Norm on K2 [B, heads, m, m], f32."""

    @staticmethod
    def forward(ctx, k2, iterations):
        k = k2.flatten(0, 1)
        z = (norm_start(k2) * k2).flatten(0, 1)
        for _ in range(iterations):
            z = torch.baddbmm(z, torch.bmm(z, k), z, beta=2, alpha=-1)
        z = torch.nan_to_num(z, 0.0, 0.0, 0.0)      # one picture must not spoil a batch's statistics
        ctx.save_for_backward(z)
        return z.view_as(k2)

    @staticmethod
    def backward(ctx, dz):
        z, = ctx.saved_tensors
        turned = z.transpose(1, 2)
        return -torch.bmm(torch.bmm(turned, dz.flatten(0, 1)), turned).view_as(dz), None


def landmark_patches(attn, q, h, w, heads):
    """[B, h*w, C] -> [B, heads, m, d*r*r], the order of the landmarks' weights."""
    b, _, c = q.shape
    r, d = attn.ratio, c // heads
    if attn.landmarks != "ratio":       # a fixed number, of averages of the map
        side = math.isqrt(attn.landmarks) * r
        q = F.adaptive_avg_pool2d(q.transpose(1, 2).reshape(b, c, h, w), side)
        q, h, w = q.flatten(2).transpose(1, 2), side, side
    rows, columns = h // r, w // r
    grid = q.reshape(b, h, w, heads, d)[:, :rows * r, :columns * r]
    grid = grid.reshape(b, rows, r, columns, r, heads, d).permute(0, 5, 1, 3, 6, 2, 4)
    return grid.reshape(b, heads, rows * columns, d * r * r)


def attend(mha, x, h, w):
    """Mha.forward."""
    attn, heads = mha.attn, mha.heads
    b, n, c = x.shape
    d = c // heads
    v = mha.W_v(x)
    # whole planes: cuDNN's depthwise gradients are slow where channels come last
    planes = v.transpose(1, 2).reshape(b, c, h, w).contiguous()
    kernels = attn.conv.weight.repeat_interleave(d, 0)
    local = F.conv2d(planes, kernels, padding=attn.conv.padding, groups=c)
    with torch.autocast(x.device.type, enabled=False):
        q = mha.W_q(x.float()) / d ** 0.25
        patches = landmark_patches(attn, q, h, w, heads)
        marks = attn.Qnorm_act(F.linear(patches, attn.Qlandmark_op.weight.flatten(1)))
        k1 = soft.kernel(q.view(b, n, heads, d).transpose(1, 2), marks)
        k2 = soft.kernel(marks, marks)
        scale = k2.sum(-1).rsqrt()
        z = scale.unsqueeze(-1) * Inverse.apply(k2, attn.iterations) * scale.unsqueeze(-2)
        value = v.float().view(b, n, heads, d).transpose(1, 2)
        o = k1 @ (z @ (k1.transpose(-1, -2) @ value))
        o = o.transpose(1, 2).reshape(b, n, c) + local.flatten(2).transpose(1, 2)
    return mha.ff(o)


def dropped(block, branch):
    """Stochastic depth (arXiv 1603.09382): the branch is left out of some pictures."""
    if not block.training or block.drop_path == 0:
        return branch
    shape = (len(branch),) + (1,) * (branch.ndim - 1)
    kept = torch.rand(shape, device=branch.device) >= block.drop_path
    return branch * (kept / (1 - block.drop_path))


def layer(block, x, h, w):
    """SoftBlock.forward."""
    own = block.att
    m = own.norm1(x + dropped(block, attend(own.mha, x, h, w)))
    return own.norm2(m + dropped(block, own.ff2(F.gelu(own.ff1(m), approximate="tanh"))))


def last_layer(block, x, h=None, w=None):
    """Block.forward of stage 4."""
    x = x + dropped(block, block.attn(block.norm1(x)))
    return x + dropped(block, block.mlp(block.norm2(x)))


def install(model, drop_path):
    """Makes a model of soft.py run so; the rate of stochastic depth rises to `drop_path`."""
    if model.config["inverse"] != "norm":
        raise ValueError("SOFT-Norm alone")
    blocks = [b for s in (1, 2, 3, 4) for b in getattr(model, f"block{s}")]
    for i, block in enumerate(blocks):
        block.drop_path = drop_path * (i + 1) / len(blocks)
        way = layer if isinstance(block, soft.SoftBlock) else last_layer
        block.forward = types.MethodType(way, block)    # a copy of the block has its own
