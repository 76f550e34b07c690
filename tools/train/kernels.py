# SPDX-License-Identifier: MIT
"""Fast pieces of a training step: kernels.c, compiled at first use; else PyTorch's own.

In bf16 where the processor is faster so, else in f32.
"""

import functools

import torch
from torch.nn import functional as F

import blas
import compiled
import lmd_vit


PRODUCTS = torch.bfloat16 if blas.products_in_bf16() else torch.float32


_library = compiled.library(["attention.c", "kernels.c", "block.c", "predictor.c"],
                            "-fno-trapping-math",
                            *(["-DWITH_F32"] if PRODUCTS == torch.float32 else []))
_LANES = _library.lane_count() if _library else 16


def _call(name, *values):
    return compiled.call(_library, name, *values)


def _run(name, *values):
    """A kernel that needs memory of its own."""
    if _call(name, *values):
        raise MemoryError(name)


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


class _Predictor(torch.autograd.Function):
    """predictor.c: [B, H, W, C] -> [B, H, W, 2]."""

    @staticmethod
    def forward(ctx, x, *parts):
        x, parts = x.contiguous(), [p.contiguous() for p in parts]
        b, h, w, c = x.shape
        y = x.new_empty(b, h, w, 2)
        _run("predictor_forward", x, parts, b, h * w, c, y)
        ctx.save_for_backward(x, *parts)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, *parts = ctx.saved_tensors
        b, h, w, c = x.shape
        dx, grads = torch.empty_like(x), [torch.zeros_like(p) for p in parts]
        _run("predictor_backward", x, parts, b, h * w, c, dy.contiguous(), dx, grads)
        return dx, *grads


def score_tokens(predictor, x):
    layers = [*predictor.in_conv, *predictor.out_conv]
    return _Predictor.apply(x, *(p for layer in layers for p in layer.parameters()))


class _Block(torch.autograd.Function):
    """block.c: a block on its active windows, the others as they are. `size`: rows, columns,
    channels, heads, shift; `parts`: its weights in the order of block.c."""

    @staticmethod
    def forward(ctx, x, active, masks, which, size, *parts):
        x, parts = x.contiguous(), [p if p is None else p.contiguous() for p in parts]
        y = x.clone()
        _run("run_block", x, parts, size, masks, which, active, len(active), y, None)
        ctx.save_for_backward(x, active, masks, which, *parts)
        ctx.size = size
        return y

    @staticmethod
    def backward(ctx, dy):
        x, active, masks, which, *parts = ctx.saved_tensors
        dx = dy.clone(memory_format=torch.contiguous_format)
        grads = [p if p is None else torch.zeros_like(p) for p in parts]
        _run("run_block", x, parts, ctx.size, masks, which, active, len(active), dx, grads)
        return dx, None, None, None, None, *grads


def run_block(block, x, keep):
    _, h, w, c = x.shape
    attn, mlp, heads = block.attn, block.mlp, block.attn.heads
    which, masks = torch.full((h // block.w * (w // block.w),), -1), x.new_zeros(1)
    if block.shift:
        windows, masks = lmd_vit.shift_mask(h, w, block.w, x.dtype)
        which[windows] = torch.arange(len(windows))
    count = len(which) * x.shape[0]
    active = torch.arange(count) if keep is None else keep.flatten().nonzero()[:, 0]
    q, kv, scale = attn.qkv.to_q, attn.qkv.to_kv, (c // heads) ** -0.5
    taps = mlp.dwconv[0]
    return _Block.apply(
        x, active, masks, which, (h, w, c, heads, block.shift),
        block.norm1.weight, block.norm1.bias, block.modulator and block.modulator.weight,
        torch.cat([q.weight * scale, kv.weight]), torch.cat([q.bias * scale, kv.bias]),
        attn.relative_position_bias_table[attn.relative_position_index].permute(2, 0, 1),
        attn.proj.weight, attn.proj.bias, block.norm2.weight, block.norm2.bias,
        mlp.linear1[0].weight, mlp.linear1[0].bias,
        taps.weight.flatten(1).t(), taps.bias, mlp.linear2[0].weight, mlp.linear2[0].bias)


@functools.lru_cache(64)
def _window_tokens(h, w, shift, size):
    """[windows, size*size]: where in a map the tokens of each window of the rolled map lie."""
    places = torch.arange(h * w).view(1, h, w, 1)
    if shift:
        places = torch.roll(places, (-shift, -shift), (1, 2))
    return lmd_vit.to_windows(places, size)[:, :, 0].contiguous()


class _Take(torch.autograd.Function):
    """Rows of x, none of them twice."""

    @staticmethod
    def forward(ctx, x, rows):
        ctx.save_for_backward(rows)
        ctx.shape = x.shape
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx, dy):
        rows, = ctx.saved_tensors
        return dy.new_zeros(ctx.shape).index_copy_(0, rows, dy), None


class _Put(torch.autograd.Function):
    """x with y in place of some of its rows."""

    @staticmethod
    def forward(ctx, x, rows, y):
        ctx.save_for_backward(rows)
        return x.index_copy(0, rows, y)

    @staticmethod
    def backward(ctx, dy):
        rows, = ctx.saved_tensors
        return dy.clone().index_fill_(0, rows, 0), None, dy.index_select(0, rows)


def run_kept(net, block, x, keep):
    """A block in PyTorch that computes the windows which are kept and no other, and rolls nothing:
    they are taken from where they lie."""
    b, h, w, c = x.shape
    tokens = _window_tokens(h, w, block.shift, block.w)
    count = len(tokens)
    active = torch.arange(b * count) if keep is None else keep.flatten().nonzero()[:, 0]
    if not len(active):
        return x
    rows = (tokens[active % count] + (active // count * (h * w))[:, None]).flatten()
    mask = None
    if block.shift:
        windows, values = lmd_vit.shift_mask(h, w, block.w, x.dtype)
        which = torch.full((count,), -1)
        which[windows] = torch.arange(len(windows))
        which = which[active % count]
        hit = (which >= 0).nonzero()[:, 0]
        mask = (hit, values[which[hit]]) if len(hit) else None
    flat = x.reshape(-1, c)
    y = block.windows(net, _Take.apply(flat, rows).view(len(active), -1, c), mask)
    return _Put.apply(flat, rows, y.reshape(-1, c)).view(x.shape)


def install(model, whole=True):
    """Makes a model train with these kernels, as far as they are there and fit; with `whole` a
    block or a predictor at a time where the processor has tiles."""
    model.product_dtype, model.gelu = PRODUCTS, gelu
    model.run_block = functools.partial(run_kept, model)
    e, window = model.config["embed_dim"], model.config["window"]
    if _library is None or window != 8:
        return
    if e * model.config["mlp_ratio"] % _LANES == 0:
        model.leff_middle = lambda x, conv: _LeffMiddle.apply(x, conv.weight, conv.bias)
    widths = [c // h for c, h in zip(model.widths(), model.config["heads"])]    # of a head
    if max(widths) > 32:
        return
    model.attend = attend
    fits = e % 4 == 0 and model.config["mlp_ratio"] == 4 and not any(d % 2 for d in widths)
    if whole and fits and hasattr(_library, "tiles_possible") and _library.tiles_possible():
        model.run_block, model.score_tokens = run_block, score_tokens
