# SPDX-License-Identifier: MIT
"""What the trainers of LMD-ViT share, on a CPU or a graphics card: first weights, loss, schedule."""

import torch
from torch.nn import functional as F


PARTS = ["loss", "inside", "outside", "pruning", "gain_db", "outside_db", "recall", "kept", "blurred"]


def initialise(model):
    """Small last layer (the network starts as the identity), small modulators."""
    for name, p in model.named_parameters():
        if name.startswith("output_proj"):
            p.data.mul_(0.3)
        elif "modulator" in name:
            torch.nn.init.normal_(p, 0, 0.02)
        elif p.ndim == 2 and "relative_position" not in name:
            torch.nn.init.xavier_uniform_(p)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(p)


def window_labels(mask, block, level, unshuffle):
    """[B, h, w] in {0, 1}: the block's windows with any pixel of mask [B, H, W] in them."""
    scale = unshuffle << level
    if block.shift:
        mask = torch.roll(mask, (-block.shift * scale,) * 2, (1, 2))
    return F.max_pool2d(mask[:, None], block.w * scale)[:, 0]


def levels(model):
    """{layer name: level of its map}."""
    return dict(zip((name for name, _ in model.layers()), model.levels()))


def pruning_loss(model, scores, mask):
    """(cross-entropy of every predictor, averaged; its recall, kept and blurred shares, too)"""
    level, labels, total, rows = levels(model), {}, 0.0, []
    for key, z in scores.items():
        layer, i = key.split(".")
        block = getattr(model, layer).blocks[int(i)]
        kind = level[layer], block.shift
        if kind not in labels:
            labels[kind] = window_labels(mask, block, level[layer], model.config["unshuffle"])
        label, margin = labels[kind], z[..., 0] - z[..., 1]
        total = total + F.binary_cross_entropy_with_logits(margin, label)
        keep = (margin.detach() > 0).float()
        rows.append(torch.stack([(keep * label).sum() / label.sum().clamp(min=1), keep.mean(),
                                 label.mean()]))
    return total / len(scores), torch.stack(rows).mean(0)


def losses(model, crops, gated, unit, weights):
    """(loss, PARTS, square outside the blur and blurred area of each crop) of crops [B, H, W, 7];
    nothing waits for a device. Decibels directly: a crop's error counts by its logarithm. `weights`:
    of what changes outside and of pruning."""
    x, y = (crops[..., k:k + 3].float() / 255 for k in (0, 3))
    m = (crops[..., 6:] > 127).float()
    out, scores = model(x, gated)
    area = m.mean((1, 2, 3))

    def mean_square(d, weight):
        return (d.square().mean(-1, keepdim=True) * weight).sum((1, 2, 3)) \
            / weight.sum((1, 2, 3)).clamp(min=1)

    def mean(values, which):
        return (values * which).sum() / which.sum().clamp(min=1)

    inside, before = mean_square(out - y, m), mean_square(x - y, m)
    outside = mean_square(out - x, 1 - m)
    w_in, w_out = (area / 0.03).clamp(max=1), ((1 - area) / 0.03).clamp(max=1)
    in_loss = (w_in * torch.log((inside + 1e-5) / (before + 1e-5))).mean()
    out_loss = (w_out * torch.log1p(outside / unit).square()).mean()    # the worst crops count
    prune, windows = pruning_loss(model, scores, m[..., 0])
    loss = in_loss + weights[0] * out_loss + weights[1] * prune
    with torch.no_grad():
        gain = 10 * mean(torch.log10((before + 1e-12) / (inside + 1e-12)), (area > 0.02).float())
        quiet = -10 * mean(torch.log10(outside + 1e-8), (area < 0.98).float())
        parts = torch.cat([torch.stack([loss, in_loss, out_loss, prune, gain, quiet]), windows])
    return loss, parts, outside.detach(), area


def outside_unit(progress, lenient):
    """Mean square outside the blur from which on change is dear: 30 dB at first, so that the
    network dares to leave the identity, 40 dB once the share `lenient` of the time is over."""
    return 10 ** -(3.0 + min(progress / max(lenient, 1e-9), 1.0))
