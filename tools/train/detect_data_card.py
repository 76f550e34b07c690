# SPDX-License-Identifier: MIT
"""Training pictures for the detector, composed in batches on the device where they lie.

All pictures are one row of RGBA texels, each of them at full, half, quarter and eighth size. A canvas
shows its sources upright, so that columns and rows find their texels apart from each other: only adding
them up, four look-ups and the blending are done for every pixel. What is drawn follows detect_data.py:
mosaics of four, zoom, objects cut at the borders, things pasted in front; besides, pictures mixed by
pairs (arXiv 1710.09412), parts erased (1708.04896), grey, blurred and noisy ones. Which part of a batch
gets what is a fixed number of pictures, so that all shapes are known beforehand.
"""

import math
from concurrent import futures

import cv2
import numpy as np
import torch

import card
import detect_data
import detect_more

LEVELS = 4                          # sizes of each picture
SHARES = {"photographs": 0.2, "small": 0.35}    # of what is drawn to stand beside in a mosaic
SELDOM = 0.15                       # of the pictures: what is in fewer is shown more often
ERASED = 0.08, 0.4                  # sides of what is erased, in sides of the canvas
MOST = 128                          # objects of a picture that are taught
FIELDS = ("boxes", "labels", "ignored", "vague", "valid")


def with_taught(record, names, classes):
    """The record with labels among the classes, boxes of others left out; None if nothing is left of
    what shows one thing only."""
    annotated = record["group"] == "annotated"
    said = ["" if k < 0 else names[k] for k in record["labels"]]
    if not annotated:
        said = [detect_more.called(name, classes) for name in said]
    index = detect_more.index_of(classes)
    keep = [i for i, name in enumerate(said) if name in index and (name or not annotated)]
    if not annotated and not keep:
        return None
    looked = [record["looked"][names.index(name)] == "1" for name in classes]
    boxes = np.array(record["boxes"], np.float32).reshape(-1, 4)
    return {**record, "boxes": boxes[keep], "labels": np.array([index[said[i]] for i in keep], int),
            "crowd": np.array(record["crowd"], bool)[keep], "looked": np.array(looked)}


def sizes_of(image, alpha):
    """u8 RGBA pictures of full, half, quarter and eighth size."""
    if alpha is None:
        alpha = np.full(image.shape[:2], 255, np.uint8)
    whole = np.dstack([image, alpha])
    h, w = whole.shape[:2]
    sides = [(max(1, round(w / 2 ** i)), max(1, round(h / 2 ** i))) for i in range(LEVELS)]
    return [whole] + [cv2.resize(whole, side, interpolation=cv2.INTER_AREA) for side in sides[1:]]


def padded(rows, width, fill, dtype):
    out = np.full((len(rows), width, *np.shape(rows[0])[1:]), fill, dtype)
    for i, row in enumerate(rows):
        out[i, :len(row)] = row
    return out


class Store:
    """The pictures and what is known of them, as tensors on the device."""

    def __init__(self, names, records, classes, balance, device, threads=4):
        records = [r for r in (with_taught(r, names, classes) for r in records) if r is not None]
        texels, offsets, sizes, at = [], [], [], 0
        with futures.ThreadPoolExecutor(threads) as pool:
            pictures = list(pool.map(lambda r: sizes_of(r["image"], r["alpha"]), records))
        for mine in pictures:
            sizes.append([m.shape[1::-1] for m in mine])
            offsets.append(at + np.cumsum([0] + [m.shape[0] * m.shape[1] for m in mine[:-1]]))
            at += sum(m.shape[0] * m.shape[1] for m in mine)
            texels += [m.reshape(-1, 4) for m in mine]
        assert at < 2 ** 31         # of which places are counted in i32

        def put(a, dtype=None):
            return torch.from_numpy(np.ascontiguousarray(a, dtype)).to(device)
        self.device, self.records = device, len(records)
        self.texels = put(np.concatenate(texels)).view(torch.int32).flatten()
        self.offsets, self.sizes = put(offsets, np.int32), put(sizes, np.float32)
        most = max(len(r["boxes"]) for r in records)
        self.boxes = put(padded([r["boxes"] for r in records], most, 0, np.float32))
        self.labels = put(padded([r["labels"] for r in records], most, detect_more.NONE, np.int64))
        self.crowd = put(padded([r["crowd"] for r in records], most, False, bool))
        self.count = put([len(r["boxes"]) for r in records], np.int64)
        self.looked = put([r["looked"] for r in records])
        self.vague = put([r["group"] == "small" for r in records])
        own = [(i, r) for i, r in enumerate(records) if r["group"] == "annotated"]
        again = detect_data.repeated([{**r, "place": i} for i, r in own], classes, balance, SELDOM)
        self.order = put([r["place"] for r in again], np.int64)
        self.beside = put(np.cumsum(shares(records)), np.float32)
        # The things that masks cut out: record, span, label, and the sum of chances up to each.
        things = [(i, box, label) for i, r in enumerate(records) if r["group"] == "photographs"
                  for box, label, crowd in zip(r["boxes"], r["labels"], r["crowd"]) if not crowd]
        self.things = len(things)
        if things:
            part, span, label = zip(*things)
            self.thing, self.span, self.thing_label = put(part), put(span), put(label, np.int64)
            counts = np.bincount(np.array(label) + 1)[np.array(label) + 1]
            self.thing_chance = put(np.cumsum(counts ** -0.5) / (counts ** -0.5).sum(), np.float32)


def shares(records):
    """The chance of each record to stand beside another in a mosaic: classes of small pictures by the
    roots of their sizes, else even."""
    chance = np.zeros(len(records))
    group = np.array([r["group"] for r in records])
    for name, share in [("annotated", 1 - sum(SHARES.values())), *SHARES.items()]:
        own = group == name
        if name == "small" and own.any():
            label = np.array([r["labels"][0] if len(r["labels"]) else 0 for r in records]) + 1
            chance[own] = np.bincount(label[own])[label[own]] ** -0.5
        else:
            chance[own] = 1.0
        chance[own] *= share / max(chance[own].sum(), 1e-9)
    return chance / chance.sum()


def drawn(chance, shape, device):
    """Places int64 of `shape`, by the sums of chances."""
    at = torch.searchsorted(chance, torch.rand(shape, device=device))
    return at.clamp_(max=len(chance) - 1)


def axis(at, shift, scale, level_scale, low, high):
    """Where pixels whose middles are `at` [..., n] lie in a source of [low, high) texels: (left texel,
    right one, share of the right one, whether the source is there). All else [..., 1]."""
    u = (at - shift) / scale
    there = (u >= low / level_scale) & (u < high / level_scale)
    u = u * level_scale - 0.5
    left = u.floor()
    first = torch.maximum(torch.minimum(left, high - 1), low)
    second = torch.maximum(torch.minimum(left + 1, high - 1), low)
    return first.int(), second.int(), u - left, there


def blended(store, rows, columns):
    """f32 [..., h, w, 4], 0 to 255, of rows ((offset of texel above, below, share below)) and columns
    alike, which broadcast to [..., h, w]."""
    (r0, r1, fy), (c0, c1, fx) = rows, columns

    def look(r, c):
        at = r + c
        found = store.texels.index_select(0, at.flatten())
        return found.view(torch.uint8).view(*at.shape, 4).float()
    fx, fy = fx.unsqueeze(-1), fy.unsqueeze(-1)
    above = torch.lerp(look(r0, c0), look(r0, c1), fx)
    below = torch.lerp(look(r1, c0), look(r1, c1), fx)
    return torch.lerp(above, below, fy)


def level_for(scale, blurred=None):
    """The size of a source that is shrunk by `scale`: at most to the half of what is looked into."""
    level = torch.floor(-torch.log2(scale.clamp(max=1)) + 1e-4)
    if blurred is not None:
        level = level + blurred
    return level.clamp(0, LEVELS - 1).long()


def compacted(objects, most):
    """The valid ones first, cut to `most`."""
    order = torch.sort(objects["valid"].int(), dim=1, descending=True, stable=True)[1][:, :most]
    picked = {k: v.gather(1, order) for k, v in objects.items() if k != "boxes"}
    picked["boxes"] = objects["boxes"].gather(1, order[..., None].expand(-1, -1, 4))
    return picked


class Composer:
    """Makes batches: {"x": f32 [B, 3, side, side] normalised, channels last, objects' FIELDS [B, MOST],
    "regions": f32 [B, 8, 4], "looked": bool [B, 8, K]}; regions without extent are none."""

    def __init__(self, store, args):
        self.store, self.args, self.device = store, args, store.device
        self.mean = torch.tensor(detect_data.MEAN, device=self.device)
        self.std = torch.tensor(detect_data.STD, device=self.device)
        self.order, self.at = None, 0

    def rand(self, low, high, *shape):
        return card.uniform(low, high, shape, self.device)

    def next(self, count):
        """The annotated pictures in an order that is another one in every epoch."""
        found = []
        while count:
            if self.order is None or self.at == len(self.order):
                mixed = torch.randperm(len(self.store.order), device=self.device)
                self.order, self.at = self.store.order[mixed], 0
            found.append(self.order[self.at:self.at + count])
            self.at += len(found[-1])
            count -= len(found[-1])
        return torch.cat(found)

    def batch(self, count, side, late=False):
        """`late`: whole pictures alone, as at the end of a run."""
        args = self.args
        mosaics = 0 if late else round(count * args.mosaic)
        source = self.next(count)
        others = drawn(self.store.beside, (count, 3), self.device)
        source = torch.cat([source[:, None], others], 1)
        turn = torch.rand(mosaics, 4, device=self.device).argsort(1)
        source = torch.cat([source[:mosaics].gather(1, turn), source[mosaics:]])
        middle = torch.full((count, 2), float(side), device=self.device)
        middle[:mosaics] = (side * self.rand(0.35, 0.65, mosaics, 2)).floor()
        x, sample = self.composed(source, middle, side)
        if self.store.things:
            for share in (args.paste, args.paste ** 2):
                self.paste(x, sample, round(count * share), side)
        self.erase(x, sample, round(count * args.erase), side)
        x = self.coloured(x)
        sample = {**compacted({k: sample[k] for k in FIELDS}, MOST),
                  "regions": sample["regions"], "looked": sample["looked"]}
        pairs = 0 if late else round(count * args.mixup)
        sample = self.mix(x, sample, pairs)
        return {"x": self.noisy(x), **sample}

    def composed(self, source, middle, side):
        """(x f32 [B, h, w, 3], 0 to 255, its sample), of four records [B, 4] that meet at `middle`
        [B, 2], which is the far corner where the first fills the canvas."""
        args, store, b = self.args, self.store, len(source)
        one = torch.stack([torch.zeros_like(middle), middle], 2)                # [B, 2 axes, 2]
        two = torch.stack([middle, torch.full_like(middle, side)], 2)
        spans = torch.stack([one, two], 1)                                      # [B, which, axis, 2]
        q = torch.arange(4, device=self.device)
        regions = torch.stack([spans[:, q % 2, 0], spans[:, q // 2, 1]], 2)     # [B, 4, axis, 2]
        corner, size = regions[..., 0], regions[..., 1] - regions[..., 0]
        whole = store.sizes[source][:, :, 0]
        longest = size.amax(2, keepdim=True) * self.rand(*map(math.log, args.zoom), b, 4, 1).exp()
        scale = longest / whole.amax(2, keepdim=True) * self.rand(-0.1, 0.1, b, 4, 2).exp()
        free = size - whole * scale
        shift = torch.rand(b, 4, 2, device=self.device) * free
        n = store.count[source]
        pick = (torch.rand(b, 4, device=self.device) * n).long().clamp_(min=0)
        box = store.boxes[source, pick]
        aimed = size * self.rand(0.3, 0.7, b, 4, 2) - (box[..., :2] + box[..., 2:]) / 2 * scale
        aimed = torch.minimum(torch.maximum(aimed, free.clamp(max=0)), free.clamp(min=0))
        seen = (n > 0) & (torch.rand(b, 4, device=self.device) < 0.7)           # an object is to be seen
        shift = torch.where(seen[..., None], aimed, shift)
        mirror = torch.rand(b, 4, 1, device=self.device) < 0.5
        sx = torch.where(mirror, -scale[..., :1], scale[..., :1])
        tx = torch.where(mirror, size[..., :1] - shift[..., :1], shift[..., :1])
        scale, shift = torch.cat([sx, scale[..., 1:]], 2), torch.cat([tx, shift[..., 1:]], 2)
        x = self.pictured(source, middle, side, scale, shift + corner)
        return x, {**self.objects(source, scale, shift, corner, size),
                   "regions": regions.transpose(2, 3).reshape(b, 4, 4), "looked": store.looked[source]}

    def pictured(self, source, middle, side, scale, shift):
        store, b = self.store, len(source)
        blurred = torch.rand(b, 4, device=self.device) < self.args.blur
        level = level_for(scale[..., 1], blurred)
        size = store.sizes[source, level]                                       # [B, 4, 2]
        level_scale = size / store.sizes[source][:, :, 0]
        offset = store.offsets[source, level]
        at = torch.arange(side, device=self.device) + 0.5
        far = at[None, None] >= middle[..., None]                               # [B, axis, side]
        zero = torch.zeros_like(size[..., :1])
        found = []
        for i in (0, 1):            # [B, 4, side] each; then of the near and the far quarter along it
            parts = axis(at, *(v[..., i:i + 1] for v in (shift, scale, level_scale)), zero,
                         size[..., i:i + 1])
            if i == 1:
                width = size[..., :1].int()
                parts = [offset[..., None] + parts[0] * width, offset[..., None] + parts[1] * width,
                         *parts[2:]]
            mine = far[:, i:i + 1]
            pairs = [(p[:, 0::2], p[:, 1::2]) if i == 0 else (p[:, :2], p[:, 2:]) for p in parts]
            found.append([torch.where(mine, b_, a_) for a_, b_ in pairs])       # [B, 2, side]
        below, right = far[:, 1, :, None], far[:, 0, None, :]
        columns = [torch.where(below, p[:, 1, None, :], p[:, 0, None, :]) for p in found[0]]
        rows = [torch.where(right, p[:, 1, :, None], p[:, 0, :, None]) for p in found[1]]
        x = blended(store, rows[:3], columns[:3])[..., :3]
        there = (rows[3] & columns[3]).unsqueeze(-1)
        light = self.rand(-0.5, 0.5, 2, 2, b, 1, 1) * self.args.jitter          # of each quarter
        light = torch.where(below, torch.where(right, light[1, 1], light[1, 0]),
                            torch.where(right, light[0, 1], light[0, 0]))
        x = torch.where(there, x, self.mean)
        return x + 57.0 * light.unsqueeze(-1)

    def objects(self, source, scale, shift, corner, size):
        """Boxes [B, 4 * m, 4] in the canvas and what they are, as detect_data.cut has it."""
        store, b = self.store, len(source)
        boxes = store.boxes[source].unflatten(3, (2, 2))                        # [B, 4, m, 2, axis]
        boxes = boxes * scale[:, :, None, None] + shift[:, :, None, None]
        low, high = boxes.amin(3), boxes.amax(3)
        extent = size[:, :, None]
        inner_low = torch.minimum(low.clamp(min=0), extent)
        inner_high = torch.minimum(high.clamp(min=0), extent)
        sides = inner_high - inner_low
        seen = sides.prod(-1) / (high - low).prod(-1).clamp(min=1e-6)
        m = boxes.shape[2]
        exists = torch.arange(m, device=self.device) < store.count[source][..., None]
        ignored = store.crowd[source] | (seen < detect_data.LEAST_VISIBLE) \
            | (sides < detect_data.LEAST_SIDE).any(-1)
        placed = torch.cat([inner_low, inner_high], -1) + corner.repeat(1, 1, 2)[:, :, None]
        return {"boxes": placed.flatten(1, 2), "labels": store.labels[source].flatten(1),
                "ignored": ignored.flatten(1),
                "vague": store.vague[source][..., None].expand(b, 4, m).flatten(1),
                "valid": (exists & (sides > 0).all(-1)).flatten(1)}

    def cover(self, x, sample, which, alpha, image):
        """Lays `image` over x[which]; what it hides is no longer taught."""
        x[which] = torch.lerp(x[which], image, alpha.unsqueeze(-1))
        side = x.shape[1]
        hidden = torch.zeros(len(alpha), side + 1, side + 1, device=self.device)
        hidden[:, 1:, 1:] = alpha.cumsum(1).cumsum(2)
        x1, y1, x2, y2 = sample["boxes"][which].round().long().clamp_(0, side).unbind(-1)
        flat = hidden.flatten(1)

        def up_to(x_, y_):
            return flat.gather(1, y_ * (side + 1) + x_)
        lost = up_to(x2, y2) - up_to(x1, y2) - up_to(x2, y1) + up_to(x1, y1)
        area = ((x2 - x1) * (y2 - y1)).clamp(min=1)
        gone = lost > (1 - detect_data.LEAST_VISIBLE) * area
        sample["ignored"][which] = sample["ignored"][which] | gone

    def paste(self, x, sample, count, side):
        """Things that masks cut out in front of `count` pictures, one each."""
        if not count:
            return
        store, b = self.store, len(x)
        which = torch.randperm(b, device=self.device)[:count]
        thing = drawn(store.thing_chance, (count,), self.device)
        record, span = store.thing[thing], store.span[thing]
        whole = span[:, 2:] - span[:, :2]
        longest = side * self.rand(*map(math.log, detect_data.PASTED), count, 1).exp()
        size = (whole * (longest / whole.amax(1, keepdim=True))).round().clamp(1, side)
        place = (torch.rand(count, 2, device=self.device) * (side - size + 1)).floor()
        scale = size / whole
        level = level_for(scale.amin(1))
        level_size = store.sizes[record, level]
        level_scale = level_size / store.sizes[record, 0]
        mirror = torch.rand(count, 1, device=self.device) < 0.5
        at = torch.arange(side, device=self.device) + 0.5
        parts = []
        for i in (0, 1):
            s, start = scale[:, i:i + 1], place[:, i:i + 1]
            low, high = span[:, i:i + 1], span[:, i + 2:i + 3]
            shift = start - low * s
            if i == 0:
                shift = torch.where(mirror, start + high * s, shift)
                s = torch.where(mirror, -s, s)
            # Texels of the whole photograph; the span itself says where the thing is.
            first, second, share, _ = axis(at, shift, s, level_scale[:, i:i + 1],
                                           torch.zeros_like(s), level_size[:, i:i + 1])
            inside = (at >= start) & (at < start + size[:, i:i + 1])
            parts.append([first, second, share, inside])
        width, offset = level_size[:, :1].int(), store.offsets[record, level][:, None]
        columns, rows = parts
        rows[:2] = [offset + r * width for r in rows[:2]]
        rows, columns = [p[:, :, None] for p in rows], [p[:, None, :] for p in columns]
        seen = blended(store, rows[:3], columns[:3])
        alpha = seen[..., 3] / 255 * (rows[3] & columns[3])
        light = self.rand(-1, 1, count, 1, 1, 1) * 57.0 * self.args.jitter
        self.cover(x, sample, which, alpha, seen[..., :3] + light)
        boxes = torch.zeros(b, 1, 4, device=self.device)
        boxes[which, 0] = torch.cat([place, place + size], 1)
        labels = torch.full((b, 1), detect_more.NONE, device=self.device)
        labels[which, 0] = store.thing_label[thing]
        no = torch.zeros(b, 1, dtype=torch.bool, device=self.device)
        ignored, valid = no.clone(), no.clone()
        ignored[which, 0] = (size < detect_data.LEAST_SIDE).any(1)
        valid[which] = True
        new = {"boxes": boxes, "labels": labels, "ignored": ignored, "vague": no, "valid": valid}
        for key, value in new.items():
            sample[key] = torch.cat([sample[key], value], 1)

    def erase(self, x, sample, count, side):
        """A rectangle of one colour in each of `count` pictures."""
        if not count:
            return
        which = torch.randperm(len(x), device=self.device)[:count]
        size = side * self.rand(*map(math.log, ERASED), count, 2).exp()
        place = torch.rand(count, 2, device=self.device) * (side - size)
        at = torch.arange(side, device=self.device) + 0.5
        inside = (at >= place[..., None]) & (at < (place + size)[..., None])     # [n, axis, side]
        alpha = (inside[:, 1, :, None] & inside[:, 0, None, :]).float()
        colour = self.mean + self.std * torch.randn(count, 1, 1, 3, device=self.device)
        self.cover(x, sample, which, alpha, colour.expand(-1, side, side, -1))

    def coloured(self, x):
        """[B, h, w, 3], 0 to 255 -> normalised [B, 3, h, w]: other contrast, saturation, brightness,
        tint and curve; a few without colour."""
        b, strength = len(x), self.args.jitter
        curve = (self.rand(-1, 1, b, 1, 1, 1) * strength).exp()
        x = (x / 255).clamp_(1e-4, 1) ** curve
        x = (x * 255 - self.mean) / self.std
        gain, grey, offset = self.rand(-strength, strength, 3, b, 1, 1)
        grey = torch.where(torch.rand(b, 1, 1, device=self.device) < self.args.grey, -1.0, grey)
        matrix = torch.eye(3, device=self.device) * (1 + grey) - grey / 3
        tint = offset + self.rand(-strength, strength, b, 1, 3) / 2
        tint = tint - gain * x.mean((1, 2, 3)).view(b, 1, 1)
        x = torch.baddbmm(tint, x.flatten(1, 2), matrix * (1 + gain)).view(x.shape)
        return x.permute(0, 3, 1, 2)

    def mix(self, x, sample, count):
        """Every one of `count` pictures gets the next one laid over it, half seen, with all it shows;
        where a class was not looked for in both, it gives no negatives."""
        none = {k: torch.zeros_like(v) for k, v in sample.items()}
        if count:
            which = torch.randperm(len(x), device=self.device)[:count]
            other = which.roll(1) if count > 1 else (which + 1) % len(x)
            own = self.rand(0.35, 0.65, count, 1, 1, 1)
            x[which] = torch.lerp(x[other], x[which], own)
            for key, value in none.items():
                value[which] = sample[key][other]
        both = {k: torch.cat([sample[k], none[k]], 1) for k in sample}
        return {**compacted({k: both[k] for k in FIELDS}, MOST),
                "regions": both["regions"], "looked": both["looked"]}

    def noisy(self, x):
        b = len(x)
        much = torch.randn(b, 1, 1, 1, device=self.device).abs() * 0.15
        much = much * (torch.rand(b, 1, 1, 1, device=self.device) < self.args.noise)
        return torch.addcmul(x, torch.randn_like(x), much)
