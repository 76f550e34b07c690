# SPDX-License-Identifier: MIT
"""LMD-ViT in PyTorch: the reference for golden tensors, the trainer's network, a peer to time.

Tensor names are those of the published checkpoint. Features are channels-last, [B, H, W, C];
`infer` computes only the windows that a predictor keeps, `forward` multiplies by the decision.
"""

import functools
import json
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import safetensors  # noqa: E402 (the plain one beside this file)

DEFAULTS = {"window": 8, "mlp_ratio": 4, "img_size": 512, "unshuffle": 1, "threshold": 0.5,
            "modulator": "decoder", "fade": None}
OFFICIAL = {"embed_dim": 32, "depths": [1, 2, 8, 8, 2, 8, 8, 2, 1],
            "heads": [1, 2, 4, 8, 16, 16, 8, 4, 2]}


def full_config(config):
    """Adds the defaults; refuses unknown keys and depths or heads that do not fit."""
    unknown = set(config) - set(DEFAULTS) - set(OFFICIAL)
    if unknown:
        raise ValueError(f"unknown configuration: {sorted(unknown)}")
    config = {**DEFAULTS, **config}
    if len(config["depths"]) not in (5, 7, 9) or len(config["heads"]) != len(config["depths"]):
        raise ValueError("depths and heads: 5, 7 or 9 numbers each, as many of one as of the other")
    return config


def to_windows(x, w):
    """[B, H, W, C] -> [B * H/w * W/w, w * w, C], windows in raster order."""
    b, h, wd, c = x.shape
    x = x.view(b, h // w, w, wd // w, w, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, w * w, c)


def from_windows(x, shape, w):
    """The inverse of to_windows; `shape` is that of the map."""
    b, h, wd, c = shape
    x = x.view(b, h // w, wd // w, w, w, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h, wd, c)


def relative_index(w):
    """[w*w, w*w]: which row of the bias table belongs to (query, key)."""
    grid = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij"))
    step = grid.flatten(1)[:, :, None] - grid.flatten(1)[:, None, :] + w - 1
    return step[0] * (2 * w - 1) + step[1]


def reflected_index(w):
    """The (w+2)*(w+2) tokens of a window padded by reflection, as indices of its w*w own."""
    line = torch.tensor([1, *range(w), w - 2])
    return (line[:, None] * w + line[None, :]).flatten()


@functools.lru_cache(64)
def interpolation(pixels, cells, size, offset, dtype, device):
    """[pixels, cells]: what each pixel of a line takes from the cells, linearly between their
    middles. The first cell begins at pixel `offset`; beyond the outer middles nothing changes."""
    at = torch.arange(pixels, dtype=dtype, device=device) + 0.5 - offset
    at = (at / size - 0.5).clamp(0, cells - 1)
    left = at.floor().long().clamp(max=max(cells - 2, 0))
    part = (at - left).unsqueeze(1)
    line = torch.zeros(pixels, cells, dtype=dtype, device=device)
    line.scatter_(1, left.unsqueeze(1), 1 - part)
    return line.scatter_add_(1, (left.unsqueeze(1) + 1).clamp(max=cells - 1), part)


@functools.lru_cache(64)
def shift_mask(h, wd, w, dtype):
    """(windows, mask): the windows of a shifted map that mix regions, and -100 where they do."""
    label = torch.zeros(h, wd)
    spans = [slice(0, -w), slice(-w, -(w // 2)), slice(-(w // 2), None)]
    for i, rows in enumerate(spans):
        for j, columns in enumerate(spans):
            label[rows, columns] = 3 * i + j
    label = to_windows(label[None, :, :, None], w)[:, :, 0]
    mask = (label[:, :, None] != label[:, None, :]).to(dtype) * -100.0
    windows = mask.flatten(1).any(1).nonzero()[:, 0]
    return windows, mask[windows][:, None]


class Qkv(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.to_q = nn.Linear(c, c)
        self.to_kv = nn.Linear(c, 2 * c)


class Attention(nn.Module):
    def __init__(self, c, heads, w):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * w - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_index(w), persistent=False)
        self.qkv = Qkv(c)
        self.proj = nn.Linear(c, c)

    def forward(self, net, x, mask):
        d = x.shape[-1] // self.heads
        q, kv = self.qkv.to_q, self.qkv.to_kv
        weight = torch.cat([q.weight * d ** -0.5, kv.weight])
        bias = torch.cat([q.bias * d ** -0.5, kv.bias])
        qkv = net.linear(x, weight, bias)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        x = net.attend(qkv, self.heads, bias, mask)
        return net.linear(x, self.proj.weight, self.proj.bias)


class LeFF(nn.Module):
    """Two layers with a depthwise 3x3 convolution over the window between them."""

    def __init__(self, c, ratio, w):
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(c, ratio * c))
        self.dwconv = nn.Sequential(nn.Conv2d(ratio * c, ratio * c, 3, groups=ratio * c))
        self.linear2 = nn.Sequential(nn.Linear(ratio * c, c))

    def forward(self, net, x):
        y = net.linear(x, self.linear1[0].weight, self.linear1[0].bias)
        y = net.leff_middle(y, self.dwconv[0])
        return net.linear(y, self.linear2[0].weight, self.linear2[0].bias)


class Predictor(nn.Module):
    """Two numbers per token, averaged over each window: (blurred, sharp) before the softmax."""

    def __init__(self, c):
        super().__init__()
        self.in_conv = nn.Sequential(nn.Linear(c, c), nn.GELU(), nn.LayerNorm(c), nn.Linear(c, c))
        self.out_conv = nn.Sequential(nn.Linear(c, c // 2), nn.GELU(), nn.Linear(c // 2, c // 4),
                                      nn.GELU(), nn.Linear(c // 4, 2))

    def tokens(self, net, x):
        c = x.shape[-1]
        u = self.in_conv[0]
        u = net.gelu(net.linear(x, u.weight, u.bias)).to(x.dtype)
        last = self.in_conv[3]
        u = net.linear(self.in_conv[2](u), last.weight, last.bias).to(x.dtype)
        first = self.out_conv[0]        # the global half is one row per picture: add its product
        mean = u[..., c // 2:].mean((1, 2), keepdim=True)
        z = net.linear(u[..., :c // 2], first.weight[:, :c // 2], first.bias).to(x.dtype)
        z = net.gelu(z + F.linear(mean, first.weight[:, c // 2:]))
        return self.out_conv[4](net.gelu(self.out_conv[2](z)))

    def forward(self, net, x, shift, w):
        b, h, wd, _ = x.shape
        z = net.score_tokens(self, x)
        if shift:
            z = torch.roll(z, (-shift, -shift), (1, 2))
        return z.view(b, h // w, w, wd // w, w, 2).mean((2, 4))


class Block(nn.Module):
    def __init__(self, c, heads, config, index, can_shift, has_modulator):
        super().__init__()
        w = config["window"]
        self.w = w
        self.shift = w // 2 if index % 2 and can_shift else 0
        self.modulator = nn.Embedding(w * w, c) if has_modulator else None
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.attn = Attention(c, heads, w)
        self.mlp = LeFF(c, config["mlp_ratio"], w)
        self.score_predictor = Predictor(c) if index < 2 else None

    def windows(self, net, x, mask):
        """The block proper, [n, w*w, C] -> the same; `mask` as from shift_mask, or None."""
        a = self.norm1(x)
        if self.modulator is not None:
            a = a + self.modulator.weight
        x = x + self.attn(net, a, mask)
        return x + self.mlp(net, self.norm2(x))

    def forward(self, net, x, keep):
        """`keep` [B, H/w, W/w]: numbers to multiply by, or None to keep everything."""
        shape = x.shape
        r = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        r = to_windows(r, self.w)
        mask = None
        if self.shift:
            windows, values = shift_mask(shape[1], shape[2], self.w, x.dtype)
            count = r.shape[0] // shape[0]
            windows = torch.cat([windows + b * count for b in range(shape[0])])
            mask = windows, values.repeat(shape[0], 1, 1, 1)
        y = self.windows(net, r, mask)
        if keep is not None:
            y = torch.where(keep.reshape(-1, 1, 1), y, r)
        y = from_windows(y, shape, self.w)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y

    def infer(self, net, x, keep):
        """One picture; computes the windows where `keep` [H/w, W/w] is True, and no other."""
        active = keep.flatten().nonzero()[:, 0]
        if active.numel() == 0:
            return x
        shape = x.shape
        r = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        r = to_windows(r, self.w)
        mask = None
        if self.shift:
            windows, values = shift_mask(shape[1], shape[2], self.w, x.dtype)
            hit = keep.flatten()[windows]
            mask = torch.searchsorted(active, windows[hit]), values[hit]
        if active.numel() == r.shape[0]:
            r = self.windows(net, r, mask)
        else:
            r = r.index_copy(0, active, self.windows(net, r[active], mask))
        r = from_windows(r, shape, self.w)
        return torch.roll(r, (self.shift, self.shift), (1, 2)) if self.shift else r


class Layer(nn.Module):
    def __init__(self, c, depth, heads, config, level, has_modulator):
        super().__init__()
        side = config["img_size"] // config["unshuffle"] // 2 ** level
        can_shift = side > config["window"]
        self.blocks = nn.ModuleList(
            Block(c, heads, config, i, can_shift, has_modulator) for i in range(depth))


class Conv(nn.Module):
    """A convolution under the attribute name that the checkpoint gives it."""

    def __init__(self, attribute, module):
        super().__init__()
        self.add_module(attribute, nn.Sequential(module))


class LmdVit(nn.Module):
    def __init__(self, **config):
        super().__init__()
        self.config = config = full_config(config)
        e, depths, heads = config["embed_dim"], config["depths"], config["heads"]
        self.scales = s = len(depths) // 2
        f = config["unshuffle"]
        self.product_dtype = None       # torch.bfloat16: large products in bf16
        self.gelu = F.gelu
        self.register_buffer("reflected", reflected_index(config["window"]), persistent=False)
        in_all, in_decoder = config["modulator"] == "all", config["modulator"] != "none"
        self.input_proj = Conv("proj", nn.Conv2d(3 * f * f, e, 3, padding=1))
        for k in range(s):
            c = e << k
            self.add_module(f"encoderlayer_{k}", Layer(c, depths[k], heads[k], config, k, in_all))
            self.add_module(f"dowsample_{k}", Conv("conv", nn.Conv2d(c, 2 * c, 4, 2, 1)))
        self.conv = Layer(e << s, depths[s], heads[s], config, s, in_all)
        for k in range(s):
            c = e << (s - k)
            up = nn.ConvTranspose2d(c if k == 0 else 2 * c, c // 2, 2, 2)
            self.add_module(f"upsample_{k}", Conv("deconv", up))
            self.add_module(f"decoderlayer_{k}", Layer(
                c, depths[s + 1 + k], heads[s + 1 + k], config, s - 1 - k, in_decoder))
        self.output_proj = Conv("proj", nn.Conv2d(2 * e, 4 * f * f, 3, padding=1))

    @property
    def multiple(self):
        """Sides of a picture must be multiples of this."""
        return self.config["window"] * self.config["unshuffle"] << self.scales

    def widths(self):
        """Channels of every layer."""
        e, s = self.config["embed_dim"], self.scales
        return [e << k for k in range(s)] + [e << s] + [e << (s - k) for k in range(s)]

    def layers(self):
        """(name, layer) in the order of the forward pass."""
        names = [f"encoderlayer_{k}" for k in range(self.scales)] + ["conv"]
        names += [f"decoderlayer_{k}" for k in range(self.scales)]
        return [(name, getattr(self, name)) for name in names]

    def linear(self, x, weight, bias):
        dtype = self.product_dtype
        if dtype is None:
            return F.linear(x, weight, bias)
        return F.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))

    def run_block(self, block, x, keep):
        return block(self, x, keep)

    def score_windows(self, predictor, x, shift, w):
        return predictor(self, x, shift, w)

    def score_tokens(self, predictor, x):
        return predictor.tokens(self, x)

    def attend(self, qkv, heads, bias, mask):
        """[n, w*w, 3C], q scaled -> [n, w*w, C]. bias [heads, w*w, w*w]; mask: see shift_mask."""
        n, t, c = qkv.shape
        q, k, v = qkv.view(n, t, 3, heads, -1).permute(2, 0, 3, 1, 4).contiguous()
        scores = (q @ k.transpose(2, 3)).to(bias.dtype) + bias
        if mask is not None:
            scores = scores.index_add(0, mask[0], mask[1].expand(-1, heads, -1, -1))
        x = torch.softmax(scores, -1).to(v.dtype) @ v
        return x.transpose(1, 2).reshape(n, t, c // 3)

    def leff_middle(self, x, layer):
        """[n, w*w, 4C] -> the same: GELU, the depthwise convolution of each window, GELU."""
        n, t, c = x.shape
        side = self.config["window"] + 2
        y = self.gelu(x)[:, self.reflected].view(n, side, side, c).permute(0, 3, 1, 2)
        y = self.gelu(self.convolve(y, layer).permute(0, 2, 3, 1))
        return y.reshape(n, t, c)

    def map_convolve(self, x, layer):
        """[B, H, W, C] -> [B, H', W', C'] in the input's dtype."""
        y = self.convolve(x.permute(0, 3, 1, 2), layer)
        return y.permute(0, 2, 3, 1).to(x.dtype).contiguous()

    def convolve(self, x, layer):
        dtype = self.product_dtype or x.dtype
        return F.conv2d(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype),
                        layer.stride, layer.padding, 1, layer.groups)

    def upsample(self, x, layer):
        """The 2x2 stride-2 transposed convolution, as one matrix product."""
        b, h, w, c = x.shape
        out = layer.weight.shape[1]
        dtype = self.product_dtype or x.dtype
        weight = layer.weight.permute(2, 3, 1, 0).reshape(4 * out, c)
        y = F.linear(x.to(dtype), weight.to(dtype)).to(x.dtype)
        y = y.view(b, h, w, 2, 2, out).permute(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, out)
        return y + layer.bias

    def features(self, x, run_layer):
        """The U around the blocks. x [B, H, W, 3] in [0, 1] -> [B, H, W, 4] before the gate."""
        f = self.config["unshuffle"]
        x = x.permute(0, 3, 1, 2)
        if f > 1:
            x = F.pixel_unshuffle(x, f)
        x = F.leaky_relu(self.map_convolve(x.permute(0, 2, 3, 1), self.input_proj.proj[0]), 0.01)
        skips = []
        for k in range(self.scales):
            x = run_layer(f"encoderlayer_{k}", x)
            skips.append(x)
            x = self.map_convolve(x, getattr(self, f"dowsample_{k}").conv[0])
        x = run_layer("conv", x)
        for k in range(self.scales):
            x = self.upsample(x, getattr(self, f"upsample_{k}").deconv[0])
            x = run_layer(f"decoderlayer_{k}", torch.cat([x, skips.pop()], -1))
        y = self.map_convolve(x, self.output_proj.proj[0]).permute(0, 3, 1, 2)
        if f > 1:
            y = F.pixel_shuffle(y, f)
        return y.permute(0, 2, 3, 1)

    def gated(self, x, y, scores):
        """The output, not clamped. With `fade` the change grows with what every predictor says."""
        change = y[..., :3] * torch.sigmoid(y[..., 3:]).clamp(min=0.1)
        if self.config["fade"] is None:
            return x + change
        nothing, all_of_it = self.config["fade"]
        sure = self.least_confidence(scores, *x.shape[1:3])
        return x + change * ((sure - nothing) / (all_of_it - nothing)).clamp(0, 1)[..., None]

    def least_confidence(self, scores, h, w):
        """[B, h, w]: the least of the predictors' probabilities of blur, each interpolated."""
        least, level = None, dict(zip((name for name, _ in self.layers()), self.levels()))
        for key, z in scores.items():
            name, i = key.split(".")
            block = getattr(self, name).blocks[int(i)]
            if block.score_predictor is None:
                continue
            scale = self.config["unshuffle"] << level[name]
            size, offset = block.w * scale, block.shift * scale
            p = torch.softmax(z, -1)[..., 0]
            p = interpolation(h, p.shape[-2], size, offset, p.dtype, p.device) @ p \
                @ interpolation(w, p.shape[-1], size, offset, p.dtype, p.device).T
            least = p if least is None else torch.minimum(least, p)
        return least

    def levels(self):
        """How often each layer's map was halved, in the order of `layers`."""
        return [*range(self.scales + 1), *reversed(range(self.scales))]

    def decide(self, scores, threshold):
        return torch.softmax(scores, -1)[..., 0] > threshold

    def forward(self, x, gated=False):
        """Training. x [B, H, W, 3] -> (output, not clamped; {LAYER.BLOCK: scores [B, h, w, 2]})."""
        scores = {}

        def run_layer(name, x):
            policies = [None, None]
            for i, block in enumerate(getattr(self, name).blocks):
                if block.score_predictor is not None:
                    z = self.score_windows(block.score_predictor, x, block.shift, block.w)
                    scores[f"{name}.{i}"] = z
                    if gated:
                        policies[i % 2] = self.decide(z.detach(), self.config["threshold"])
                x = self.run_block(block, x, policies[i % 2])
            return x

        y = self.features(x, run_layer)
        return self.gated(x, y, scores), scores

    @torch.no_grad()
    def infer(self, image, threshold=None, dense=False):
        """One picture [H, W, 3], sides multiples of `multiple`.

        Returns (output [H, W, 3] clamped, {LAYER.BLOCK: keep map uint8 [h, w]}, {LAYER.BLOCK:
        scores [h, w, 2]}). Keep maps of shifted blocks are in the rolled frame. `dense` computes
        every window and reports all ones.
        """
        threshold = self.config["threshold"] if threshold is None else threshold
        keeps, scores = {}, {}

        def run_layer(name, x):
            policies = [None, None]
            for i, block in enumerate(getattr(self, name).blocks):
                key = f"{name}.{i}"
                if block.score_predictor is not None:
                    z = self.score_windows(block.score_predictor, x, block.shift, block.w)[0]
                    keep = torch.ones(z.shape[:2], dtype=torch.bool)
                    policies[i % 2] = z, keep if dense else self.decide(z, threshold)
                scores[key], keeps[key] = policies[i % 2]
                x = block.infer(self, x, keeps[key])
            return x

        x = image[None]
        y = self.features(x, run_layer)
        y = self.gated(x, y, {k: v[None] for k, v in scores.items()}).clamp(0, 1)[0]
        return y, {k: v.to(torch.uint8) for k, v in keeps.items()}, scores


def pad(image, multiple, mode="zero"):
    """Centres [H, W, 3] on the next multiples; returns (canvas, top, left). mode: zero, reflect."""
    h, w = image.shape[:2]
    rows, columns = -h % multiple, -w % multiple
    top, left = rows // 2, columns // 2
    if mode == "zero":
        x = F.pad(image.permute(2, 0, 1), (left, columns - left, top, rows - top))
        return x.permute(1, 2, 0), top, left
    i = np.pad(np.arange(h), (top, rows - top), mode="reflect")
    j = np.pad(np.arange(w), (left, columns - left), mode="reflect")
    return image[torch.from_numpy(i)][:, torch.from_numpy(j)], top, left


def deblur(model, image, mode="zero", **options):
    """Any size: pads, infers, crops. Keep maps and scores stay those of the canvas."""
    h, w = image.shape[:2]
    canvas, top, left = pad(image, model.multiple, mode)
    y, keeps, scores = model.infer(canvas, **options)
    return y[top:top + h, left:left + w], keeps, scores


def save_model(model, path, metadata=None, state=None, half=False):
    """Writes weights (of `state`, else of the model) with the metadata that softlens expects.
    `half`: matrices and kernels are stored in f16."""
    c = model.config
    config = {k: c[k] for k in OFFICIAL}
    config.update({k: c[k] for k, v in DEFAULTS.items() if c[k] != v})
    state = model.state_dict() if state is None else state
    tensors = {k: v.detach().to(torch.float16 if half and v.ndim > 1 else torch.float32).numpy()
               for k, v in state.items()}
    metadata = {"architecture": "lmd-vit", "config": json.dumps(config), **(metadata or {})}
    safetensors.save(path, tensors, metadata)


def load_model(path):
    tensors, metadata = safetensors.load(path)
    model = LmdVit(**json.loads(metadata["config"]))
    state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()
             if not k.endswith("relative_position_index")}
    model.load_state_dict(state)
    return model.eval()
