# SPDX-License-Identifier: MIT
"""detect_loss.py for whole batches on any device: nothing waits for the device, no shape depends on data.

Objects are padded tensors [B, G, ...] with `valid`; check_detect_card.py holds both to the same numbers.
"""

import torch
from torch.nn import functional as F

import card
import retina

NEAREST, WINDOW = 9, 7              # nearest places of a level; they lie in a window of so many a side
CUTS = 32                           # objects of a picture that are ignored and large enough to matter
ALPHA, GAMMA = 0.25, 2.0


def corners(anchor):
    half = anchor[:, 2:] / 2
    return torch.cat([anchor[:, :2] - half, anchor[:, :2] + half], 1)


def areas(boxes):
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def intersections(a, b):
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    return sides.clamp(min=0).prod(-1)


class Anchors:
    """All anchors of a square picture, and where each level's are."""

    def __init__(self, config, side, device):
        self.each, self.levels, parts, first = config["scales"] * len(config["ratios"]), [], [], 0
        for i, stride in enumerate(config["strides"]):
            n = -(-side // stride)
            parts.append(retina.anchors(config, i, n, n))
            self.levels.append((first, n, stride))
            first += n * n * self.each
        self.whole = torch.cat(parts).to(device)
        self.corners = corners(self.whole)
        self.areas = areas(self.corners)
        self.least = self.areas.min().item()
        self.count = len(self.whole)


def near(anchors, boxes):
    """Anchors [B, G, c] of the places nearest to the boxes' middles, level by level."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    each = torch.arange(anchors.each, device=boxes.device)
    found = []
    for first, n, stride in anchors.levels:
        window = torch.arange(min(WINDOW, n), device=boxes.device)
        start = ((middle / stride).round().long() - WINDOW // 2).clamp_(0, max(n - WINDOW, 0))
        x, y = (start[..., i:i + 1] + window for i in (0, 1))                   # [B, G, w]
        away = (((y * stride - middle[..., 1:]) ** 2)[..., :, None]
                + ((x * stride - middle[..., :1]) ** 2)[..., None, :]).flatten(2)
        place = (y[..., :, None] * n + x[..., None, :]).flatten(2)
        nearest = away.topk(min(NEAREST, away.shape[2]), 2, largest=False)[1]
        place = place.gather(2, nearest)
        found.append((first + place[..., None] * anchors.each + each).flatten(2))
    return torch.cat(found, 2)


def owners(anchors, boxes, taught):
    """The object that each anchor answers for [B, N], which of them do (ATSS, as detect_loss.chosen)."""
    b, g, _ = boxes.shape
    candidate = near(anchors, boxes)                                            # [B, G, c]
    its, box = anchors.corners[candidate], boxes[:, :, None]
    inter = intersections(its, box)
    overlap = inter / (anchors.areas[candidate] + areas(box) - inter).clamp(min=1e-9)
    centre = anchors.whole[candidate][..., :2]
    inside = ((centre > box[..., :2]) & (centre < box[..., 2:])).all(-1)
    least = overlap.mean(2, keepdim=True) + overlap.std(2, keepdim=True)
    good = inside & (overlap >= least) | (overlap >= overlap.amax(2, keepdim=True))
    overlap = torch.where(good & taught[..., None], overlap, torch.zeros_like(overlap))
    at, much = candidate.flatten(1), overlap.flatten(1)
    best = torch.zeros(b, anchors.count, device=boxes.device)                   # who overlaps most
    best.scatter_reduce_(1, at, much, "amax", include_self=True)
    mine = (much > 0) & (much == best.gather(1, at))
    number = torch.arange(g, device=boxes.device, dtype=torch.float32)
    number = number.view(1, g, 1).expand(b, g, candidate.shape[2]).flatten(1)
    number = torch.where(mine, number, torch.full_like(number, float(g)))
    owner = torch.full((b, anchors.count), float(g), device=boxes.device)
    owner.scatter_reduce_(1, at, number, "amin", include_self=True)             # of equals the first
    return owner.long().clamp_(max=g - 1), best > 0


def held(anchors, sample, classes):
    """bool [B, N, K]: whether what an anchor says of a class is held against it: the class was looked
    for where its middle lies, and no ignored object of it fills more than half of it."""
    regions, boxes = sample["regions"], sample["boxes"]
    x, y = anchors.whole[:, 0], anchors.whole[:, 1]
    x1, y1, x2, y2 = regions[..., None].unbind(2)                               # [B, R, 1]
    where = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    cut = sample["valid"] & sample["ignored"] & (sample["labels"] >= 0) \
        & (areas(boxes) > 0.5 * anchors.least)
    rank, order = torch.sort(cut.int(), dim=1, descending=True)
    order = order[:, :CUTS]
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    sides = [torch.minimum(anchors.corners[:, i + 2], boxes[..., i + 2:i + 3])
             - torch.maximum(anchors.corners[:, i], boxes[..., i:i + 1]) for i in (0, 1)]
    hit = sides[0].clamp_(min=0).mul_(sides[1].clamp_(min=0)) > 0.5 * anchors.areas
    hit = hit & (rank[:, :CUTS, None] > 0)
    label = sample["labels"].gather(1, order)[..., None] == torch.arange(classes, device=boxes.device)
    against = torch.cat([where, hit], 1).transpose(1, 2).to(torch.bfloat16)
    kinds = torch.cat([~sample["looked"], label], 1).to(torch.bfloat16)
    return against @ kinds < 0.5


def targets(anchors, sample, classes):
    """(held bool [B, N, K], label int [B, N] or -1, boxes [B, N, 4], which anchors teach a box)."""
    taught = sample["valid"] & ~sample["ignored"]
    weight = held(anchors, sample, classes)
    owner, positive = owners(anchors, sample["boxes"], taught)
    weight |= positive[..., None]           # what is one thing is none of the others
    label = torch.where(positive, sample["labels"].gather(1, owner), torch.full_like(owner, -1))
    boxes = sample["boxes"].gather(1, owner[..., None].expand(-1, -1, 4))
    return weight, label, boxes, positive & ~sample["vague"].gather(1, owner)


def dense(logits, weight):
    """(sum, its gradient as `logits` are) of the focal loss where nothing is there; in f32."""
    x = logits.float()
    p, cost = x.sigmoid(), F.softplus(x)
    scale = weight * (1 - ALPHA) * p * p
    return (scale * cost).sum(), (scale * (p + GAMMA * (1 - p) * cost)).to(logits.dtype)


class Focal(torch.autograd.Function):
    """Sum of the focal loss over logits [B, N, K]; the gradient is found along the way."""

    @staticmethod
    def forward(ctx, logits, weight, label, dense):
        gradient = torch.empty_like(logits)
        loss = torch.zeros((), device=logits.device)
        step = max(1, 2 ** 26 // max(1, logits[0].numel()))         # bounds the memory of this
        for i in range(0, len(logits), step):
            part, slope = dense(logits[i:i + step], weight[i:i + step])
            gradient[i:i + step] = slope
            loss += part
        named = label >= 0
        at = label.clamp(min=0).unsqueeze(2)
        x = logits.gather(2, at).float()
        p, cost = x.sigmoid(), F.softplus(-x)
        scale = ALPHA * (1 - p) ** 2
        there, slope = scale * cost, -scale * (1 - p + GAMMA * p * cost)
        missing = (1 - ALPHA) * p * p * F.softplus(x)
        loss += ((there - missing) * named.unsqueeze(2)).sum()
        slope = torch.where(named.unsqueeze(2), slope.to(gradient.dtype), gradient.gather(2, at))
        gradient.scatter_(2, at, slope)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx, by):
        return ctx.saved_tensors[0] * by.to(ctx.saved_tensors[0].dtype), None, None, None


def giou_costs(a, b):
    """1 - generalised IoU of pairs of boxes [..., 4]."""
    inter = intersections(a, b)
    union = areas(a) + areas(b) - inter
    around = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return 2 - inter / union.clamp(min=1e-6) - union / around.clamp(min=1e-6)


class Loss:
    """Of batches of square pictures; keeps the anchors of every side that it has seen."""

    def __init__(self, config, box_weight):
        self.config, self.box_weight, self.anchors, self.dense = config, box_weight, {}, dense

    def compile(self, device):
        """One pass instead of ten over the largest tensor of a step."""
        x = torch.randn(3, 3000, 81, device=device).bfloat16()
        self.dense = card.compiled(dense, x, torch.rand_like(x) > 0.3)

    def __call__(self, out, side, sample):
        """(loss, class part, box part, positives), on the device."""
        device, classes = sample["boxes"].device, self.config["classes"]
        if side not in self.anchors:
            self.anchors[side] = Anchors(self.config, side, device)
        anchors = self.anchors[side]
        with torch.no_grad():
            weight, label, boxes, boxed = targets(anchors, sample, classes)
        logits, deltas = (torch.cat([out[f"{name}_{l}"].flatten(1).unflatten(1, (-1, width))
                                     for l in retina.LEVELS], 1)
                          for name, width in (("cls", classes), ("reg", 4)))
        cls = Focal.apply(logits, weight, label, self.dense) / (label >= 0).sum().clamp(min=1)
        deltas, anchor = deltas.float(), anchors.whole
        centre = anchor[:, :2] + deltas[..., :2] * anchor[:, 2:]
        half = anchor[:, 2:] * deltas[..., 2:].clamp(-retina.LONGEST, retina.LONGEST).exp() / 2
        found = torch.cat([centre - half, centre + half], -1)
        # Anchors that teach no box are compared with themselves: finite, and masked afterwards.
        cost = giou_costs(torch.where(boxed[..., None], found, anchors.corners),
                          torch.where(boxed[..., None], boxes, anchors.corners))
        box = (cost * boxed).sum() / boxed.sum().clamp(min=1)
        return cls + self.box_weight * box, cls.detach(), box.detach(), boxed.sum()
