# SPDX-License-Identifier: MIT
"""LMD-ViT as a graphics card runs it fast: the same weights and results as lmd_vit's, other products.

A block is bound by memory, so what counts is how often its widest features, 4C for each token, are
read and written. They are kept channels first, [4C, n, 64]: there the depthwise convolution of a
window, reflection included, is a product with a [64, 64] matrix of each channel, made from its nine
numbers, and no layout has to be changed between the products before and behind it.
"""

import os
import sys

import torch
from torch.nn import functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import lmd_vit  # noqa: E402


def taps(w):
    """[9, w*w, w*w] of 0 and 1: tap, token read (reflected at the window's border), token made."""
    grid = lmd_vit.reflected_index(w).view(w + 2, w + 2)
    out = torch.zeros(9, w * w, w * w)
    made = torch.arange(w * w)
    for k in range(9):
        read = grid[k // 3:k // 3 + w, k % 3:k % 3 + w].flatten()
        out[k, read, made] = 1
    return out


def norm(layer, x):
    """A LayerNorm in the dtype of what comes in; it counts in f32 inside."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight.to(x.dtype),
                        layer.bias.to(x.dtype), layer.eps)


def bias_gelu(x, bias):
    return F.gelu(x + bias)


def attention(q, k, v, bias):
    """Of windows [n, heads, w*w, d]; one kernel on a card."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    scores = (q @ k.transpose(2, 3)).float() + bias.float()
    return torch.softmax(scores, -1).to(v.dtype) @ v


def settle():
    """Leaves the kernel of attention that has the gradient of a bias, and the plain one."""
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


class Reorder(torch.autograd.Function):
    """[B, n, C] in another order of n: one copy there, one copy of the gradient back."""

    @staticmethod
    def forward(ctx, x, order, back):
        ctx.save_for_backward(order, back)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.index_select(1, ctx.saved_tensors[1]), None, None


class CardVit(lmd_vit.LmdVit):
    """`dtype`: of the large products and of what is kept between blocks. Pictures, scores, the
    predictors' last layers and all weights are f32."""

    def __init__(self, dtype=torch.bfloat16, **config):
        super().__init__(**config)
        self.product_dtype, self.bias_gelu = dtype, bias_gelu
        self.register_buffer("taps", taps(config.get("window", 8)), persistent=False)
        # rows of a bias table are chosen by a product, whose gradient needs no sorting of indices
        places = F.one_hot(lmd_vit.relative_index(config.get("window", 8)).flatten())
        self.register_buffer("places", places.float(), persistent=False)
        self.masks, self.orders = {}, {}    # by size; made where the weights are

    def product(self, x, weight, bias=None):
        """x [..., c] times the weight, in the dtype of products."""
        dtype = self.product_dtype
        return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    def shift_mask(self, h, w, side, device):
        """[h/side * w/side, 1, side*side, side*side]: -100 where a shifted window mixes regions."""
        if (h, w) not in self.masks:
            windows, values = lmd_vit.shift_mask(h, w, side, torch.float32)
            mask = torch.zeros((h // side) * (w // side), 1, side * side, side * side)
            mask[windows] = values
            self.masks[h, w] = mask.to(device)
        return self.masks[h, w]

    def order(self, h, w, side, shift, device):
        """(tokens of a map in the order of its windows, and back)"""
        if (h, w, shift) not in self.orders:
            at = torch.arange(h * w).view(1, h, w, 1)
            at = lmd_vit.to_windows(torch.roll(at, (-shift, -shift), (1, 2)), side).flatten()
            self.orders[h, w, shift] = at.to(device), at.argsort().to(device)
        return self.orders[h, w, shift]

    def run_block(self, block, x, keep):
        b, h, w, c = x.shape
        there, back = self.order(h, w, block.w, block.shift, x.device)
        r = Reorder.apply(x.view(b, h * w, c), there, back).view(-1, block.w ** 2, c)
        mask = self.shift_mask(h, w, block.w, x.device) if block.shift else None
        y = self.windows(block, r, mask, b)
        if keep is not None:
            y = torch.where(keep.reshape(-1, 1, 1), y, r)
        return Reorder.apply(y.view(b, h * w, c), back, there).view(b, h, w, c)

    def windows(self, block, x, mask, pictures):
        """[n, w*w, C] -> the same."""
        a = norm(block.norm1, x)
        if block.modulator is not None:
            a = a + block.modulator.weight.to(a.dtype)
        x = x + self.attend_windows(block.attn, a, mask, pictures)
        return x + self.feed(block.mlp, norm(block.norm2, x))

    def attend_windows(self, attn, a, mask, pictures):
        n, t, c = a.shape
        q, kv, d = attn.qkv.to_q, attn.qkv.to_kv, c // attn.heads
        weight = torch.cat([q.weight * d ** -0.5, kv.weight])
        qkv = self.product(a, weight, torch.cat([q.bias * d ** -0.5, kv.bias]))
        q, k, v = qkv.view(n, t, 3, attn.heads, d).permute(2, 0, 3, 1, 4)
        bias = self.places @ attn.relative_position_bias_table
        bias = bias.view(t, t, attn.heads).permute(2, 0, 1)[None].to(qkv.dtype)
        if mask is None:
            bias = bias.expand(n, -1, -1, -1)
        else:       # that of a window, the same in every picture
            bias = (bias + mask).to(qkv.dtype)
            bias = bias.expand(pictures, *bias.shape).reshape(n, attn.heads, t, t)
        x = attention(q, k, v, bias)
        return self.product(x.transpose(1, 2).reshape(n, t, c), attn.proj.weight, attn.proj.bias)

    def feed(self, mlp, x):
        """The LeFF, its hidden features channels first."""
        n, t, c = x.shape
        first, middle, last = mlp.linear1[0], mlp.dwconv[0], mlp.linear2[0]
        dtype = self.product_dtype
        wide = first.weight.shape[0]
        # eight columns of ones carry the first bias: a pass over C numbers instead of 4C
        weight = torch.cat([first.weight, first.bias[:, None].expand(-1, 8) / 8], 1)
        x = F.pad(x.to(dtype), (0, 8), value=1.0).view(n * t, c + 8)
        u = F.gelu(weight.to(dtype) @ x.t()).view(wide, n, t)
        matrix = (middle.weight.view(wide, 9) @ self.taps.view(9, -1)).view(wide, t, t)
        u = torch.bmm(u, matrix.to(dtype)).view(wide, n * t)
        u = self.bias_gelu(u, middle.bias.to(dtype)[:, None])
        return F.linear(u.t(), last.weight.to(dtype), last.bias.to(dtype)).view(n, t, c)

    def map_convolve(self, x, layer):
        return self.convolve(x.permute(0, 3, 1, 2), layer).permute(0, 2, 3, 1).to(
            self.product_dtype).contiguous()

    def upsample(self, x, layer):
        """As the base's, the bias in the product."""
        b, h, w, c = x.shape
        out = layer.weight.shape[1]
        weight = layer.weight.permute(2, 3, 1, 0).reshape(4 * out, c)
        y = self.product(x, weight, layer.bias.repeat(4)).to(x.dtype)
        return y.view(b, h, w, 2, 2, out).permute(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, out)

    def score_windows(self, predictor, x, shift, w):
        """lmd_vit.Predictor, but averaged over windows before the last layer, which is linear."""
        b, h, wd, c = x.shape
        first, between, last = (predictor.in_conv[i] for i in (0, 2, 3))
        u = F.gelu(self.product(x, first.weight, first.bias))
        u = self.product(norm(between, u), last.weight, last.bias)
        first, second, third = (predictor.out_conv[i] for i in (0, 2, 4))
        mean = u[..., c // 2:].mean((1, 2), keepdim=True, dtype=torch.float32)
        mean = F.linear(mean, first.weight[:, c // 2:], first.bias)
        z = self.product(u[..., :c // 2], first.weight[:, :c // 2])
        z = F.gelu(z + mean.to(z.dtype))
        z = F.gelu(self.product(z, second.weight, second.bias))
        if shift:
            z = torch.roll(z, (-shift, -shift), (1, 2))
        z = z.view(b, h // w, w, wd // w, w, -1).mean((2, 4), dtype=torch.float32)
        return F.linear(z, third.weight, third.bias)

    def gated(self, x, y, scores):
        return super().gated(x, y.float(), scores)
