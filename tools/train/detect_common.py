# SPDX-License-Identifier: MIT
"""The detector of retina.py as a graphics card likes it, and larger ones from smaller ones' weights.

Products and convolutions in `dtype`, weights, norms, attention's kernels and their inverse in f32.
BatchNorm keeps the statistics that it has, so it is multiplied into the convolution before it. The
gradient of the inverse is the closed form -Z dZ Z, as in soft_fast.py. Whole branches of the blocks
and whole channels of the pyramid can be dropped at random.
"""

import math

import torch
from torch.nn import functional as F

import retina
import soft


class _Newton(torch.autograd.Function):
    """The inverse of k [B, heads, m, m] as SOFT-Norm finds it; f32."""

    @staticmethod
    def forward(ctx, k, iterations):
        z = start(k) * k
        for _ in range(iterations):
            z = 2 * z - z @ k @ z
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx, dz):
        turned = ctx.saved_tensors[0].transpose(-1, -2)
        return -turned @ dz @ turned, None


def start(k):
    """soft.norm_start, on any device."""
    alpha = 2 / k.sum(-1).amax((1, 2)).square()[:, None, None, None]
    product, unit = k @ (alpha * k), torch.eye(k.shape[-1], device=k.device)
    factor = torch.ones_like(alpha)
    for _ in range(soft.HALVINGS):
        residual = (unit - factor * product).abs().sum(-2).amax((1, 2))[:, None, None, None]
        factor = torch.where(residual > soft.LEAST_RESIDUAL, factor / 2, factor)
    return factor * alpha


def inverse(k, iterations):
    scale = k.sum(-1).rsqrt()
    return scale.unsqueeze(-1) * _Newton.apply(k, iterations) * scale.unsqueeze(-2)


class _HeadConv(torch.autograd.Function):
    """One kernel per head, shared by its channels. x [B, C, h, w], weight [heads, 1, size, size].

    The kernel's gradient is the product of whole rows with rows `dy` away, of which diagonals are
    added up: a depthwise convolution's own is many times slower where kernels are large.
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        own = weight.repeat_interleave(x.shape[1] // len(weight), 0)
        return F.conv2d(x, own, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        b, c, h, w = x.shape
        heads, size = len(weight), weight.shape[-1]
        r, dy = size // 2, dy.contiguous()
        own = weight.flip(2, 3).repeat_interleave(c // heads, 0)
        dx = F.conv2d(dy, own, padding=r, groups=c)

        def rows(t):                # of all channels of a head, r empty ones after each, [B * heads, n, w]
            return F.pad(t.view(b * heads, -1, h, w), (0, 0, 0, r)).flatten(1, 2)
        before, after, found = rows(x), rows(dy), []
        for d in range(-r, r + 1):
            n = before.shape[1] - abs(d)
            first = before[:, max(d, 0):max(d, 0) + n]
            both = first.transpose(1, 2) @ after[:, max(-d, 0):max(-d, 0) + n]
            found.append(both.view(b, heads, w, w).sum(0, dtype=torch.float32))
        # Element [.., x', x] is of the kernel's column x' - x + r: a diagonal for each.
        band = F.pad(torch.stack(found, 1), (r, r))
        pitch = w + 2 * r
        band = band.as_strided((heads, size, w, size), (size * w * pitch, w * pitch, pitch + 1, 1))
        return dx, band.sum(2).flip(2).unsqueeze(1).to(weight.dtype)


def pooling(side, cells, device):
    """f32 [cells, side] of adaptive average pooling."""
    at, cell = torch.arange(side, device=device), torch.arange(cells, device=device)[:, None]
    low = torch.div(cell * side, cells, rounding_mode="floor")
    high = torch.div((cell + 1) * side + cells - 1, cells, rounding_mode="floor")
    inside = ((at >= low) & (at < high)).float()
    return inside / inside.sum(1, keepdim=True)


class Net:
    """Runs a retina.Retina; the parameters stay the model's."""

    def __init__(self, model, dtype, drop_path=0.0, dropout=0.0):
        self.model, self.dtype, self.training = model, dtype, True
        self.drop_path, self.dropout = drop_path, dropout
        self.pools, self.casts = {}, {}
        depths = model.backbone.config["depths"]
        chances = torch.linspace(0, drop_path, sum(depths)).tolist()       # later blocks more often
        self.chances = [chances[sum(depths[:i]):sum(depths[:i + 1])] for i in range(len(depths))]

    def cast(self, p):
        """The parameter in `dtype`, once a pass; kernels with their channels last."""
        if p not in self.casts:
            form = torch.channels_last if p.ndim == 4 else torch.preserve_format
            self.casts[p] = p.to(self.dtype, memory_format=form)
        return self.casts[p]

    def linear(self, m, x):
        return F.linear(x.to(self.dtype), self.cast(m.weight), self.cast(m.bias))

    def conv(self, m, x):
        return F.conv2d(x, self.cast(m.weight), self.cast(m.bias), m.stride, m.padding)

    def norm(self, m, x):
        return F.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps)

    def kept(self, y, chance):
        """The branch of a residual in f32, missing for some pictures."""
        y = y.float()
        if not self.training or chance == 0:
            return y
        there = torch.rand(len(y), 1, 1, device=y.device) >= chance
        return y * (there / (1 - chance))

    def embed(self, proj, x):
        for conv, norm in zip(proj[0::3], proj[1::3]):
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            weight = (conv.weight * scale.view(-1, 1, 1, 1)).to(
                self.dtype, memory_format=torch.channels_last)
            bias = ((conv.bias - norm.running_mean) * scale + norm.bias).to(self.dtype)
            x = F.relu(F.conv2d(x, weight, bias, conv.stride, conv.padding))
        return x

    def pool(self, q, cells):
        """[B, h, w, C] -> [B, cells, cells, C], by products: whatever divides whatever."""
        b, h, w, c = q.shape
        for side in (h, w):
            if (side, cells) not in self.pools:
                self.pools[side, cells] = pooling(side, cells, q.device)
        q = (self.pools[h, cells] @ q.reshape(b, h, w * c)).view(b * cells, w, c)
        return (self.pools[w, cells] @ q).view(b, cells, cells, c)

    def attend(self, mha, x, h, w):
        attn, heads = mha.attn, mha.heads
        b, n, c = x.shape
        d, g, r = c // heads, math.isqrt(attn.landmarks), attn.ratio
        q = F.linear(x, mha.W_q.weight, mha.W_q.bias) / d ** 0.25
        cells = self.pool(q.view(b, h, w, c), g * r).view(b, g, r, g, r, heads, d)
        cells = cells.permute(0, 5, 1, 3, 6, 2, 4).reshape(b, heads, g * g, d * r * r)
        marks = F.linear(cells, attn.Qlandmark_op.weight.flatten(1))
        marks = F.gelu(self.norm(attn.Qnorm_act[0], marks))
        v = self.linear(mha.W_v, x)
        image = v.transpose(1, 2).reshape(b, c, h, w).contiguous()
        local = _HeadConv.apply(image, attn.conv.weight.to(self.dtype))
        v = v.float().view(b, n, heads, d).transpose(1, 2)
        k1 = soft.kernel(q.view(b, n, heads, d).transpose(1, 2), marks)
        z = inverse(soft.kernel(marks, marks), attn.iterations)
        o = k1 @ (z @ (k1.transpose(-1, -2) @ v))
        o = o.transpose(1, 2).reshape(b, n, c) + local.flatten(2).transpose(1, 2)
        return self.linear(mha.ff, o)

    def soft_layer(self, m, x, h, w, chance):
        x = self.norm(m.norm1, x + self.kept(self.attend(m.mha, x, h, w), chance))
        y = self.linear(m.ff2, F.gelu(self.linear(m.ff1, x), approximate="tanh"))
        return self.norm(m.norm2, x + self.kept(y, chance))

    def plain_layer(self, m, x, chance):
        """Of stage 4, pre-norm, with softmax."""
        b, n, c = x.shape
        a = m.attn
        y = self.norm(m.norm1, x)
        q = self.linear(a.q, y).view(b, n, a.heads, -1).transpose(1, 2)
        k, v = self.linear(a.kv, y).view(b, n, 2, a.heads, -1).permute(2, 0, 3, 1, 4)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            scale = q.shape[-1] ** -0.5
            y = torch.softmax((q @ k.transpose(2, 3)).float() * scale, -1).to(v.dtype) @ v
        x = x + self.kept(self.linear(a.proj, y.transpose(1, 2).reshape(b, n, c)), chance)
        y = self.linear(m.mlp.fc2, F.gelu(self.linear(m.mlp.fc1, self.norm(m.norm2, x))))
        return x + self.kept(y, chance)

    def stage(self, x, s):
        bone = self.model.backbone
        x = self.embed(getattr(bone, f"patch_embed{s}").proj, x)
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b, h * w, c).float()
        positions = getattr(bone, f"pos_embed{s}")
        own = int(s == 4 and math.isqrt(positions.shape[1]) ** 2 != positions.shape[1])
        x = x + soft.resized_positions(positions[:, own:], h, w)
        for block, chance in zip(getattr(bone, f"block{s}"), self.chances[s - 1]):
            x = self.plain_layer(block, x, chance) if s == 4 \
                else self.soft_layer(block.att, x, h, w, chance)
        return x.to(self.dtype).view(b, h, w, c).permute(0, 3, 1, 2)

    def neck(self, stages):
        m = self.model.neck
        lateral = [self.conv(c.conv, x) for c, x in zip(m.lateral_convs, stages)]
        for i in (1, 0):
            lateral[i] = lateral[i] + F.interpolate(lateral[i + 1], lateral[i].shape[2:])
        levels = [self.conv(c.conv, x) for c, x in zip(m.fpn_convs, lateral)]
        levels.append(self.conv(m.fpn_convs[3].conv, stages[-1]))
        levels.append(self.conv(m.fpn_convs[4].conv, levels[-1]))
        return [F.dropout2d(x, self.dropout, self.training) if self.dropout else x for x in levels]

    def __call__(self, x):
        """As retina.Retina has it; maps in `dtype`."""
        self.casts.clear()
        x, stages = x.to(self.dtype), []
        for s in (1, 2, 3, 4):
            x = self.stage(x, s)
            stages.append(x)
        out, head = {}, self.model.bbox_head
        for level, y in zip(retina.LEVELS, self.neck(stages[1:])):
            for name in ("cls", "reg"):
                z = y
                for m in getattr(head, f"{name}_convs"):
                    z = F.relu(self.conv(m.conv, z))
                z = self.conv(getattr(head, f"retina_{name}"), z)
                out[f"{name}_{level}"] = z.permute(0, 2, 3, 1)
        return out


# ---- larger networks

def grown(path, classes, depths=None, channels=None, tower=None):
    """A retina.Retina with a shipped one's weights, which answers as that did though it may have more
    blocks in stage 4, channels, convolutions and classes."""
    old, labels = retina.load_model(path)
    bone = {**old.config["backbone"]}
    was, bone["depths"] = bone["depths"], depths or bone["depths"]
    if was[:3] != bone["depths"][:3]:       # their norms come last: no block there passes on its input
        raise ValueError("only the last stage can get more blocks")
    config = {**old.config, "backbone": bone, "classes": len(classes),
              "channels": channels or old.config["channels"], "tower": tower or old.config["tower"]}
    model = retina.Retina(**config)
    for s in range(1, 5):
        key = f"pos_embed{s}"
        setattr(model.backbone, key, torch.nn.Parameter(getattr(old.backbone, key).detach().clone()))
    model.initialise()
    theirs, state = old.state_dict(), model.state_dict()
    with torch.no_grad():
        for key, value in state.items():
            if key.startswith("bbox_head.retina_cls"):
                copy_classes(value, theirs[key], classes, labels)
            elif key in theirs:
                copy_corner(value, theirs[key], key.startswith(("neck", "bbox_head")))
            elif key.startswith("bbox_head") and key.endswith("weight"):
                torch.nn.init.dirac_(value)         # one convolution more: it passes on what it gets
        for i in range(was[3], bone["depths"][3]):
            add_block(model.backbone.block4, was[3] - 1, i)
    return model


def copy_corner(new, old, wide):
    """Old channels hear the old ones alone."""
    if new.shape == old.shape or not wide:
        new.copy_(old)
        return
    rows = slice(0, old.shape[0])
    if new.ndim == 4:
        new[rows, old.shape[1]:] = 0
        new[rows, :old.shape[1]] = old
    else:
        new[rows] = old


def copy_classes(new, old, classes, labels):
    common = [name for name in labels if name in classes]
    ours, theirs = ([names.index(name) for name in common] for names in (classes, labels))
    rows = new.view(-1, len(classes), *new.shape[1:])
    rows = rows[:, :, :old.shape[1]] if new.ndim == 4 else rows
    if new.ndim == 4:
        new[:, old.shape[1]:] = 0
    rows[:, ours] = old.view(-1, len(labels), *old.shape[1:])[:, theirs]


def add_block(blocks, last, i):
    """Block i of stage 4 becomes a copy of the last one whose branches add nothing."""
    blocks[i].load_state_dict(blocks[last].state_dict())
    for layer in (blocks[i].attn.proj, blocks[i].mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
