# SPDX-License-Identifier: MIT
"""SOFT-Norm for training on a graphics card: soft.py's network in few large steps, PyTorch alone.

The gradient of the inverse is the closed form -Z dZ Z. The convolution of V is a product with a
matrix made of its weights: V's maps are small, and matrix units are idle otherwise. Kernels, inverse
and head are computed in f32 whatever the rest is. Nothing here waits for the device.
"""

import torch
from torch.nn import functional as F

import soft

MOST_TOKENS = 600       # of a map whose convolution is a product; beyond, it costs more than it saves


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


def landmark_patches(q, h, w, heads, r):
    """[B, h*w, C] -> [B, heads, m, d*r*r], the order of the convolution's weights."""
    b, _, c = q.shape
    d, rows, columns = c // heads, h // r, w // r
    grid = q.view(b, h, w, heads, d)[:, :rows * r, :columns * r]
    grid = grid.reshape(b, rows, r, columns, r, heads, d).permute(0, 5, 1, 3, 6, 2, 4)
    return grid.reshape(b, heads, rows * columns, d * r * r)


_shifts = {}


def shifts(size, h, w, device):
    """[size*size, n*n]: which weight of a kernel leads from a token to another; f32, zeros and ones."""
    key = size, h, w, str(device)
    if key not in _shifts:
        rows, columns = torch.arange(h * w) // w, torch.arange(h * w) % w
        down = rows[None] - rows[:, None] + size // 2
        across = columns[None] - columns[:, None] + size // 2
        inside = (down >= 0) & (down < size) & (across >= 0) & (across < size)
        index = torch.where(inside, down * size + across, torch.full_like(down, -1))
        table = index.flatten()[None] == torch.arange(size * size)[:, None]
        _shifts[key] = table.float().to(device)
    return _shifts[key]


def convolved(attn, v, h, w):
    """attn.convolve of v [B, n, heads, d] -> [B, n, heads, d]."""
    b, n, heads, d = v.shape
    if n > MOST_TOKENS:
        return attn.convolve(v.transpose(1, 2), h, w).transpose(1, 2)
    weight = attn.conv.weight.flatten(1)
    table = shifts(attn.conv.weight.shape[-1], h, w, v.device)
    matrix = (weight @ table).view(heads, n, n)
    maps = v.permute(2, 1, 0, 3).reshape(heads, n, b * d)
    return torch.bmm(matrix.to(v.dtype), maps).view(heads, n, b, d).permute(2, 1, 0, 3)


def attend(mha, x, h, w):
    """mha.forward. Where autocast is on, the projections and the convolution are in its type."""
    attn, heads = mha.attn, mha.heads
    b, n, c = x.shape
    d = c // heads
    q, v = mha.W_q(x), mha.W_v(x)
    with torch.autocast(x.device.type, enabled=False):
        spread = convolved(attn, v.view(b, n, heads, d), h, w)
        q = q.float() / d ** 0.25
        patches = landmark_patches(q, h, w, heads, attn.ratio)
        marks = attn.Qnorm_act(F.linear(patches, attn.Qlandmark_op.weight.flatten(1)))
        k1 = soft.kernel(q.view(b, n, heads, d).transpose(1, 2), marks)
        k2 = soft.kernel(marks, marks)
        z = Inverse.apply(k2, attn.iterations)
        scale = k2.sum(-1).rsqrt()
        z = scale.unsqueeze(-1) * z * scale.unsqueeze(-2)
        value = v.float().view(b, n, heads, d).transpose(1, 2)
        o = k1 @ (z @ (k1.transpose(-1, -2) @ value))
        o = o.transpose(1, 2) + spread
    return mha.ff(o.reshape(b, n, c).to(v.dtype))


def dropped(branch, rate, training):
    """Stochastic depth (arXiv 1603.09382): the branch is left out of some pictures."""
    if not training or rate == 0:
        return branch
    shape = (len(branch),) + (1,) * (branch.ndim - 1)
    kept = (torch.rand(shape, device=branch.device) >= rate).to(branch.dtype)
    return branch * kept / (1 - rate)


def layer(block, rate, x, h, w):
    """SoftLayer.forward."""
    m = block.norm1(x + dropped(attend(block.mha, x, h, w), rate, block.training))
    inner = block.ff2(F.gelu(block.ff1(m), approximate="tanh"))
    return block.norm2(m + dropped(inner, rate, block.training))


def last_layer(block, rate, x):
    """Block.forward of stage 4."""
    x = x + dropped(block.attn(block.norm1(x)), rate, block.training)
    return x + dropped(block.mlp(block.norm2(x)), rate, block.training)


def install(model, drop_path):
    """Makes a model of soft.py run so; the rate of stochastic depth rises to `drop_path`."""
    if model.config["landmarks"] != "ratio" or model.config["inverse"] != "norm":
        raise ValueError("only SOFT-Norm with landmarks by ratio")
    blocks = [b for s in (1, 2, 3, 4) for b in getattr(model, f"block{s}")]
    for i, block in enumerate(blocks):
        rate = drop_path * (i + 1) / len(blocks)
        if isinstance(block, soft.SoftBlock):
            block.forward = lambda x, h, w, own=block.att, rate=rate: layer(own, rate, x, h, w)
        else:
            block.forward = lambda x, h, w, own=block, rate=rate: last_layer(own, rate, x)


def embedding(model, x, dtype=None):
    """Unit vectors [B, d] of pictures x, f32; `dtype`: that of autocast."""
    with torch.autocast(x.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        for s in (1, 2, 3, 4):
            x, row = model.stage(x, s)
    return F.normalize(model.head(model.norm(row.float())), dim=-1, eps=1e-12)
