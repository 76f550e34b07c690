# SPDX-License-Identifier: MIT
"""What anchors are to say, and what it costs when they do not: focal loss and overlap."""

import numpy as np
import torch
from torch.nn import functional as F

import compiled
import retina

NEAREST = 9                         # places of a level that a box chooses its anchors from
ALPHA, GAMMA = 0.25, 2.0


_library = compiled.library(["focal.c"], "-ffast-math")


def corners(anchor):
    half = anchor[:, 2:] / 2
    return torch.cat([anchor[:, :2] - half, anchor[:, :2] + half], 1)


def intersections(a, b):
    """Areas of [..., 4] corners with [..., 4]."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    return sides.clamp(min=0).prod(-1)


def areas(boxes):
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def overlaps(a, b):
    """Intersection over union of [..., 4] corners with [..., 4]."""
    inter = intersections(a, b)
    return inter / (areas(a) + areas(b) - inter)


def looked_for(anchor, regions, looked):
    """f32 [n, K]: whether a class was looked for where the anchor's middle lies."""
    weight = torch.zeros(len(anchor), looked.shape[1])
    for (x1, y1, x2, y2), seen in zip(regions.tolist(), looked):
        x, y = anchor[:, 0], anchor[:, 1]
        weight[(x >= x1) & (x < x2) & (y >= y1) & (y < y2)] = seen.float()
    return weight


def chosen(anchor, anchor_boxes, levels, boxes):
    """The anchors that answer for boxes, by ATSS (Zhang et al., arXiv 1912.02424): of those around the
    places nearest to a box's middle, on every level, what overlaps more than their mean and one
    standard deviation, and lies inside; always the best one. (anchors [p], box of each [p])"""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = []
    for start, end, each in levels:
        away = ((anchor[start:end:each, None, :2] - middle) ** 2).sum(2)
        places = away.topk(min(NEAREST, len(away)), 0, largest=False)[1]
        near.append((start + places[:, None] * each + torch.arange(each)[:, None]).flatten(0, 1))
    near = torch.cat(near)                              # [candidates, boxes]
    overlap = overlaps(anchor_boxes[near], boxes)
    centre = anchor[near][..., :2]
    inside = ((centre > boxes[:, :2]) & (centre < boxes[:, 2:])).all(-1)
    good = inside & (overlap >= overlap.mean(0) + overlap.std(0)) | (overlap >= overlap.max(0)[0])
    best, owner = torch.zeros(len(anchor)), torch.zeros(len(anchor), dtype=torch.int64)
    for j in range(len(boxes)):                         # who overlaps an anchor most has it
        mine, much = near[good[:, j], j], overlap[good[:, j], j]
        more = much > best[mine]
        best[mine[more]], owner[mine[more]] = much[more], j
    positive = torch.nonzero(best > 0)[:, 0]
    return positive, owner[positive]


def targets(anchor, anchor_boxes, levels, sample):
    """(class targets [n, K], their weights [n, K], which anchors teach a box, box of each)."""
    boxes, labels, ignored, vague = (torch.from_numpy(sample[key])
                                     for key in ("boxes", "labels", "ignored", "vague"))
    weight = looked_for(anchor, *(torch.from_numpy(sample[key]) for key in ("regions", "looked")))
    target = torch.zeros_like(weight)
    cut = ignored & (labels >= 0)
    for box, label in zip(boxes[cut], labels[cut]):
        weight[intersections(anchor_boxes, box) > 0.5 * areas(anchor_boxes), label] = 0
    boxes, labels, vague = boxes[~ignored], labels[~ignored], vague[~ignored]
    if not len(boxes):
        return target, weight, torch.zeros(0, dtype=torch.int64), boxes
    positive, owner = chosen(anchor, anchor_boxes, levels, boxes)
    weight[positive] = 1                # what is one thing is none of the others
    named = labels[owner] >= 0
    target[positive[named], labels[owner[named]]] = 1
    plain = ~vague[owner]
    return target, weight, positive[plain], boxes[owner[plain]]


def plain_focal(logits, target, weight):
    """Sum over all; with logits."""
    p = logits.sigmoid()
    miss = p + target - 2 * p * target          # 1 - p of what is true, p of what is not
    scale = (1 - ALPHA) + (2 * ALPHA - 1) * target
    cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * scale * miss ** GAMMA * cost).sum()


class _Focal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target, weight):
        gradient, loss = torch.empty_like(logits), torch.empty(1, dtype=torch.float64)
        compiled.call(_library, "focal", logits, target, weight, gradient, loss, logits.numel())
        ctx.save_for_backward(gradient)
        return loss[0].float()

    @staticmethod
    def backward(ctx, by):
        return ctx.saved_tensors[0] * by, None, None


def focal(logits, target, weight):
    """As plain_focal, of contiguous f32; a fifth of its time."""
    if _library is None:
        return plain_focal(logits, target, weight)
    return _Focal.apply(logits, target, weight)


def giou(a, b):
    """Sum of 1 - generalised IoU (Rezatofighi et al., arXiv 1902.09630) of pairs of boxes."""
    inter = intersections(a, b)
    union = areas(a) + areas(b) - inter
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return (2 - inter / union.clamp(min=1e-6) - union / around.clamp(min=1e-6)).sum()


class Loss:
    """Of batches of square pictures; keeps the anchors of every side that it has seen."""

    def __init__(self, config, box_weight):
        self.config, self.box_weight, self.anchors = config, box_weight, {}

    def anchors_of(self, out, side):
        """(anchors, their corners, [(first, end, anchors of a place)] by level)."""
        if side not in self.anchors:
            maps = [out[f"cls_{level}"].shape[1:3] for level in retina.LEVELS]
            whole = torch.cat([retina.anchors(self.config, i, *m) for i, m in enumerate(maps)])
            each = self.config["scales"] * len(self.config["ratios"])
            ends = np.cumsum([0] + [h * w * each for h, w in maps]).tolist()
            self.anchors[side] = whole, corners(whole), [(*span, each) for span in zip(ends, ends[1:])]
        return self.anchors[side]

    def __call__(self, out, side, samples):
        """(loss, class part, box part), each by the number of positives."""
        classes, batch = self.config["classes"], len(samples)
        placed = self.anchors_of(out, side)
        anchor = placed[0]
        logits, deltas = (torch.cat([out[f"{name}_{l}"].reshape(batch, -1, width)
                                     for l in retina.LEVELS], 1).float()
                          for name, width in (("cls", classes), ("reg", 4)))
        found = [targets(*placed, s) for s in samples]
        target, weight = (torch.stack([f[i] for f in found]) for i in (0, 1))
        cls = focal(logits, target, weight) / target.sum().clamp(min=1)
        boxes = sum(giou(retina.decode(anchor[f[2]], deltas[i, f[2]]), f[3])
                    for i, f in enumerate(found)) / max(sum(len(f[2]) for f in found), 1)
        return cls + self.box_weight * boxes, cls.item(), float(boxes)
