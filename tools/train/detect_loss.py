# SPDX-License-Identifier: MIT
"""What anchors are to say, and what it costs when they do not: focal loss and overlap."""

import torch
from torch.nn import functional as F

import retina

POSITIVE, NEGATIVE = 0.5, 0.4       # overlap of an anchor with a box
ALPHA, GAMMA = 0.25, 2.0


def corners(anchor):
    half = anchor[:, 2:] / 2
    return torch.cat([anchor[:, :2] - half, anchor[:, :2] + half], 1)


def intersections(a, b):
    """[n, 4], [m, 4] corners -> [n, m] areas."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    return sides.clamp(min=0).prod(-1)


def areas(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def targets(anchor_boxes, boxes, labels, ignored, looked, classes):
    """(class targets [n, K], their weights [n, K], which anchors are positive, box of each)."""
    n = len(anchor_boxes)
    target, weight = torch.zeros(n, classes), looked.float().expand(n, classes).clone()
    inter = intersections(anchor_boxes, boxes)
    for j in torch.nonzero(ignored)[:, 0]:
        weight[inter[:, j] > 0.5 * areas(anchor_boxes), labels[j]] = 0
    inter, boxes, labels = inter[:, ~ignored], boxes[~ignored], labels[~ignored]
    if not len(boxes):
        return target, weight, torch.zeros(0, dtype=torch.int64), boxes
    overlap = inter / (areas(anchor_boxes)[:, None] + areas(boxes) - inter)
    best, owner = overlap.max(1)
    for j, i in enumerate(overlap.argmax(0)):       # every box gets its best anchor
        best[i], owner[i] = 1.0, j
    weight[(best >= NEGATIVE) & (best < POSITIVE)] = 0
    positive = torch.nonzero(best >= POSITIVE)[:, 0]
    weight[positive] = 1                # what is one thing is none of the others
    target[positive, labels[owner[positive]]] = 1
    return target, weight, positive, boxes[owner[positive]]


def focal(logits, target, weight):
    """Sum over all; with logits."""
    p = logits.sigmoid()
    miss = p + target - 2 * p * target          # 1 - p of what is true, p of what is not
    scale = (1 - ALPHA) + (2 * ALPHA - 1) * target
    cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * scale * miss ** GAMMA * cost).sum()


def giou(a, b):
    """Sum of 1 - generalised IoU (Rezatofighi et al., arXiv 1902.09630) of pairs of boxes."""
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    inter = sides.clamp(min=0).prod(1)
    union = areas(a) + areas(b) - inter
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return (2 - inter / union.clamp(min=1e-6) - union / around.clamp(min=1e-6)).sum()


class Loss:
    """Of batches of square pictures; keeps the anchors of every side that it has seen."""

    def __init__(self, config, box_weight):
        self.config, self.box_weight, self.anchors = config, box_weight, {}

    def anchors_of(self, out, side):
        if side not in self.anchors:
            maps = [out[f"cls_{level}"].shape[1:3] for level in retina.LEVELS]
            whole = torch.cat([retina.anchors(self.config, i, *m) for i, m in enumerate(maps)])
            self.anchors[side] = whole, corners(whole)
        return self.anchors[side]

    def __call__(self, out, side, samples):
        """(loss, class part, box part), each by the number of positives."""
        classes, batch = self.config["classes"], len(samples)
        anchor, anchor_boxes = self.anchors_of(out, side)
        logits = torch.cat([out[f"cls_{l}"].reshape(batch, -1, classes) for l in retina.LEVELS], 1)
        deltas = torch.cat([out[f"reg_{l}"].reshape(batch, -1, 4) for l in retina.LEVELS], 1)
        found = [targets(anchor_boxes, *(torch.from_numpy(v) for v in s[1:]), classes)
                 for s in samples]
        target, weight = (torch.stack([f[i] for f in found]) for i in (0, 1))
        count = max(sum(len(f[2]) for f in found), 1)
        cls = focal(logits, target, weight) / count
        boxes = sum(giou(retina.decode(anchor[f[2]], deltas[i, f[2]]), f[3])
                    for i, f in enumerate(found)) / count
        return cls + self.box_weight * boxes, cls.item(), float(boxes)
