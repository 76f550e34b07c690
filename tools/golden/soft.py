# SPDX-License-Identifier: MIT
"""SOFT and SOFT-Norm in PyTorch: the reference for golden tensors, and the trainer's network.

Softmax-free vision transformers. Tensor names are those of the official checkpoints. Tokens are
[B, n, C] in raster order of a map of h x w. Heads: linear, ebv, hyperspherical or none at all.
A batch answers like its pictures one by one: every scalar of the inverse is per picture.
"""

import json
import math
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import safetensors  # noqa: E402 (the plain one beside this file)

DEFAULTS = {"ratios": [8, 4, 2], "kernels": [9, 5, 3], "iterations": 20, "stem": 32,
            "class_token": True, "landmarks": "ratio", "head": "linear", "embedding": None,
            "scale": None, "temperature": 1.0, "image": 224, "resize": 248,
            "mirror": False, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
REQUIRED = ("dims", "heads", "depths", "classes", "inverse")
TINY = {"dims": [64, 128, 320, 512], "heads": [2, 4, 10, 16], "depths": [1, 2, 3, 2],
        "classes": 1000}
RIDGE, LEAST_RESIDUAL, HALVINGS = 0.01, 1.01, 10


def full_config(config):
    """Adds the defaults; refuses unknown or missing keys and an unknown inverse or head."""
    unknown = set(config) - set(DEFAULTS) - set(REQUIRED)
    missing = set(REQUIRED) - set(config)
    if unknown or missing:
        raise ValueError(f"configuration: unknown {sorted(unknown)}, missing {sorted(missing)}")
    config = {**DEFAULTS, **config}
    if config["inverse"] not in ("soft", "norm"):
        raise ValueError("inverse: soft or norm")
    if config["head"] not in ("linear", "ebv", "hyperspherical", "none"):
        raise ValueError("head: linear, ebv, hyperspherical or none")
    m = config["landmarks"]
    if m != "ratio" and math.isqrt(m) ** 2 != m:
        raise ValueError("landmarks: \"ratio\" or a square number")
    return config


def kernel(a, b):
    """exp(-|a - b|^2 / 2) of all pairs: [..., n, d], [..., m, d] -> [..., n, m]."""
    square_a = a.square().sum(-1, keepdim=True)
    square_b = b.square().sum(-1).unsqueeze(-2)
    return torch.exp(a @ b.transpose(-1, -2) - 0.5 * (square_a + square_b))


def newton(start, k, iterations):
    """Z = 2Z - Z K Z from Z = `start`."""
    z = start
    for _ in range(iterations):
        z = 2 * z - z @ k @ z
    return z


def inverse_soft(k2, iterations):
    """The regularised inverse of k2 [B, heads, m, m]; one start per head and picture."""
    alpha = 1.8 / k2.sum(-1).amax(-1).square()[..., None, None]
    p = k2 + RIDGE * torch.eye(k2.shape[-1], dtype=k2.dtype)
    return newton(alpha * p, p, iterations)


def norm_start(k2):
    """alpha [B, 1, 1, 1] of SOFT-Norm: one per picture, over all its heads."""
    alpha = 2 / k2.sum(-1).amax((1, 2)).square()[:, None, None, None]
    product = k2 @ (alpha * k2)         # halving alpha halves this exactly
    unit = torch.eye(k2.shape[-1], dtype=k2.dtype)
    factor = torch.ones_like(alpha)
    for _ in range(HALVINGS):
        residual = (unit - factor * product).abs().sum(-2).amax((1, 2))[:, None, None, None]
        factor = torch.where(residual > LEAST_RESIDUAL, factor / 2, factor)
    return factor * alpha


def inverse_norm(k2, iterations):
    """The symmetrically normalised inverse of k2 [B, heads, m, m]."""
    z = newton(norm_start(k2) * k2, k2, iterations)
    scale = k2.sum(-1).rsqrt()
    return scale.unsqueeze(-1) * z * scale.unsqueeze(-2)


INVERSES = {"soft": inverse_soft, "norm": inverse_norm}


class SoftAttention(nn.Module):
    """mha.attn: landmarks, Gaussian kernels, their inverse, and the convolution of V."""

    def __init__(self, heads, d, ratio, size, config):
        super().__init__()
        self.ratio, self.iterations = ratio, config["iterations"]
        self.landmarks, self.inverse = config["landmarks"], INVERSES[config["inverse"]]
        self.Qlandmark_op = nn.Conv2d(d, d, ratio, ratio, bias=False)
        self.Qnorm_act = nn.Sequential(nn.LayerNorm(d), nn.GELU())
        self.conv = nn.Conv2d(heads, heads, size, padding=size // 2, groups=heads, bias=False)

    def landmark_tokens(self, q, h, w):
        """q [B, heads, n, d] -> [B, heads, m, d].

        "ratio": m = floor(h/r) * floor(w/r). A number M = g*g: q's map is first averaged to
        g*r x g*r cells (cell i of a side s covers rows floor(i*s/(g*r)) up to, without,
        ceil((i+1)*s/(g*r)), as adaptive average pooling does), which gives g x g landmarks.
        """
        b, heads, _, d = q.shape
        grid = q.reshape(b * heads, h, w, d).permute(0, 3, 1, 2)
        if self.landmarks != "ratio":
            grid = F.adaptive_avg_pool2d(grid, math.isqrt(self.landmarks) * self.ratio)
        grid = self.Qlandmark_op(grid).flatten(2).transpose(1, 2)
        return self.Qnorm_act(grid).view(b, heads, -1, d)

    def convolve(self, v, h, w):
        """[B, heads, n, d] -> the same: one kernel per head, shared by its channels."""
        b, heads, n, d = v.shape
        x = v.transpose(2, 3).reshape(b, heads * d, h, w)
        weight = self.conv.weight.repeat_interleave(d, 0)
        y = F.conv2d(x, weight, padding=self.conv.padding, groups=heads * d)
        return y.view(b, heads, d, n).transpose(2, 3)

    def forward(self, q, v, h, w):
        landmarks = self.landmark_tokens(q, h, w)
        k1 = kernel(q, landmarks)
        z = self.inverse(kernel(landmarks, landmarks), self.iterations)
        return k1 @ (z @ (k1.transpose(-1, -2) @ v)) + self.convolve(v, h, w)


class Mha(nn.Module):
    def __init__(self, c, heads, ratio, size, config):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_v, self.ff = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
        self.attn = SoftAttention(heads, c // heads, ratio, size, config)

    def forward(self, x, h, w):
        b, n, c = x.shape
        d = c // self.heads
        q = (self.W_q(x) / d ** 0.25).view(b, n, self.heads, d).transpose(1, 2)
        v = self.W_v(x).view(b, n, self.heads, d).transpose(1, 2)
        o = self.attn(q, v, h, w)
        return self.ff(o.transpose(1, 2).reshape(b, n, c))


class SoftLayer(nn.Module):
    """A softmax-free block, post-norm."""

    def __init__(self, c, heads, ratio, size, config):
        super().__init__()
        self.mha = Mha(c, heads, ratio, size, config)
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.ff1, self.ff2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x, h, w):
        m = self.norm1(x + self.mha(x, h, w))
        return self.norm2(m + self.ff2(F.gelu(self.ff1(m), approximate="tanh")))


class SoftBlock(nn.Module):
    """The extra level that the checkpoint's names have."""

    def __init__(self, *arguments):
        super().__init__()
        self.att = SoftLayer(*arguments)

    def forward(self, x, h, w):
        return self.att(x, h, w)


class Attention(nn.Module):
    """Plain softmax attention of stage 4."""

    def __init__(self, c, heads):
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(c, c), nn.Linear(c, 2 * c), nn.Linear(c, c)

    def forward(self, x):
        b, n, c = x.shape
        d = c // self.heads
        q = self.q(x).view(b, n, self.heads, d).transpose(1, 2)
        k, v = self.kv(x).view(b, n, 2, self.heads, d).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(2, 3) * d ** -0.5, -1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A block of stage 4, pre-norm."""

    def __init__(self, c, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c, eps=1e-6), nn.LayerNorm(c, eps=1e-6)
        self.attn, self.mlp = Attention(c, heads), Mlp(c)

    def forward(self, x, h=None, w=None):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, widths, strides):
        super().__init__()
        layers = []
        for a, b, stride in zip(widths, widths[1:], strides):
            layers += [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.proj = nn.Sequential(*layers)

    def forward(self, x):
        return self.proj(x)


def resized_positions(p, h, w):
    """[1, side*side, C] -> [1, h*w, C], bilinear with half-pixel centres."""
    side = math.isqrt(p.shape[1])
    if (h, w) == (side, side):
        return p
    grid = p.view(1, side, side, -1).permute(0, 3, 1, 2)
    return F.interpolate(grid, (h, w), mode="bilinear").flatten(2).transpose(1, 2)


class Soft(nn.Module):
    def __init__(self, base=None, **config):
        """`base`: side of the picture whose maps the position embeddings have (default: image)."""
        super().__init__()
        self.config = config = full_config(config)
        dims, heads, stem = config["dims"], config["heads"], config["stem"]
        side = (base or config["image"]) // 4
        for s in range(4):
            widths = [3, stem, stem, dims[0]] if s == 0 else [dims[s - 1], dims[s]]
            self.add_module(f"patch_embed{s + 1}", PatchEmbed(widths, (2, 1, 2)))
            with_class = int(s == 3 and config["class_token"])
            tokens = side * side + with_class
            setattr(self, f"pos_embed{s + 1}", nn.Parameter(torch.zeros(1, tokens, dims[s])))
            side = (side + 1) // 2
            ratio, size = (config["ratios"] + [0])[s], (config["kernels"] + [0])[s]
            blocks = [SoftBlock(dims[s], heads[s], ratio, size, config) if s < 3
                      else Block(dims[s], heads[s]) for _ in range(config["depths"][s])]
            self.add_module(f"block{s + 1}", nn.ModuleList(blocks))
        if config["class_token"]:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, dims[3]))
        if config["head"] != "none":
            self.add_head(dims[3])

    def add_head(self, c):
        config = self.config
        self.norm = nn.LayerNorm(c, eps=1e-6)
        if config["head"] == "linear":
            self.head = nn.Linear(c, config["classes"])
            return
        self.head = nn.Linear(c, config["embedding"])
        directions = torch.empty(config["classes"], config["embedding"])
        self.directions = nn.Parameter(directions, requires_grad=config["head"] != "ebv")
        with torch.no_grad():
            self.directions.copy_(F.normalize(torch.randn(directions.shape)))

    def stage(self, x, s):
        """[B, C', H, W] -> ([B, C, h, w], class row [B, C] or None)."""
        x = getattr(self, f"patch_embed{s}")(x)
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        positions = getattr(self, f"pos_embed{s}")
        with_class = s == 4 and self.config["class_token"]
        own = int(s == 4 and math.isqrt(positions.shape[1]) ** 2 != positions.shape[1])
        x = x + resized_positions(positions[:, own:], h, w)
        if with_class:
            x = torch.cat([(self.cls_token + positions[:, :1]).expand(b, -1, -1), x], 1)
        for block in getattr(self, f"block{s}"):
            x = block(x, h, w)
        row = x[:, 0] if with_class else None
        x = x[:, int(with_class):]
        return x.reshape(b, h, w, c).permute(0, 3, 1, 2), row

    def forward(self, x):
        """x [B, 3, H, W], normalised -> dict: stage1..4 [B, h, w, C], pool3, pool4 [B, C],
        embedding [B, d] and logits [B, classes] (before the temperature) as far as there is one."""
        out = {}
        for s in (1, 2, 3, 4):
            x, row = self.stage(x, s)
            out[f"stage{s}"] = x.permute(0, 2, 3, 1)
        out["pool3"], out["pool4"] = (out[k].mean((1, 2)) for k in ("stage3", "stage4"))
        if self.config["head"] == "none":
            return out
        row = self.norm(row)
        if self.config["head"] == "linear":
            return {**out, "embedding": row, "logits": self.head(row)}
        out["embedding"] = F.normalize(self.head(row), dim=-1, eps=1e-12)
        cosines = out["embedding"] @ F.normalize(self.directions, dim=-1, eps=1e-12).t()
        return {**out, "logits": self.config["scale"] * cosines}


def load_model(path):
    """The network of a safetensors file, in eval mode, f32."""
    tensors, metadata = safetensors.load(path)
    config = json.loads(metadata["config"])
    if "norm.weight" not in tensors:
        config["head"] = "none"
    model = Soft(**config)
    own = model.state_dict()
    for s in range(1, 5):       # the file's base grids, whatever its `image` is
        key = f"pos_embed{s}"
        setattr(model, key, nn.Parameter(torch.zeros(tensors[key].shape)))
    model.load_state_dict({k: torch.from_numpy(np.array(tensors[k], np.float32))
                           for k in own if not k.endswith("num_batches_tracked")}, strict=False)
    return model.eval()


def save_model(model, path, metadata=None, state=None, extra=None, half=False):
    """`extra`: further {name: f32 array}; `half`: matrices and kernels are stored in f16."""
    tensors = dict(extra or {})
    for key, value in (state or model.state_dict()).items():
        if not key.endswith("num_batches_tracked"):
            value = value.detach().to(torch.float32).numpy()
            small = half and value.ndim > 1 and key != "directions"
            tensors[key] = value.astype(np.float16) if small else value
    config = {k: v for k, v in model.config.items() if v != DEFAULTS.get(k) and v != "none"}
    metadata = {"architecture": "soft", "config": json.dumps(config), **(metadata or {})}
    safetensors.save(path, tensors, metadata)
