# SPDX-License-Identifier: MIT
"""Annotated photographs for the detector: read once, then cut, scaled and mirrored at random.

A picture's optional `labelled` lists the categories that were looked for in it; where it is
missing, all were. One that was not looked for gives no negatives there.
"""

import json
import os

import cv2
import numpy as np

import picture_file

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
LEAST_SIDE = 3.0        # of a box in pixels; smaller ones are neither taught nor held against it
LEAST_VISIBLE = 0.35    # of a box's area inside a cut, and in front of which nothing is pasted
PASTED = 0.12, 0.75     # long side of what is pasted, in sides of the canvas


def shrunk(image, longest):
    """The picture with a long side of at most `longest`, and the factor."""
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image, 1.0
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def read(annotations, folder, names, longest, complete=()):
    """[{"image": u8 RGB [h, w, 3], "boxes": f32 [n, 4] corners, "labels": int [n], "crowd": bool [n],
    "vague": bool [n], "looked": bool [K], "id": int}], of the categories `names` alone. What a
    vague box says of its extent is not taught; here none is. The classes `complete` count as looked
    for in every picture."""
    with open(annotations, encoding="utf-8") as file:
        data = json.load(file)
    known = {c["name"]: c["id"] for c in data["categories"]}
    missing = [name for name in [*names, *complete] if name not in known]
    if missing:
        raise SystemExit(f"{annotations}: no category {missing[0]!r}; there are {sorted(known)}")
    index = {known[name]: i for i, name in enumerate(names)}
    all_known = {known[name] for name in complete}
    boxes = {}
    for a in data["annotations"]:
        if a["category_id"] in index:
            boxes.setdefault(a["image_id"], []).append(a)
    records = []
    for entry in data["images"]:
        image, factor = shrunk(picture_file.read(os.path.join(folder, entry["file_name"])), longest)
        own = boxes.get(entry["id"], [])
        corners = np.array([a["bbox"] for a in own], np.float32).reshape(-1, 4) * factor
        corners[:, 2:] += corners[:, :2]
        looked = entry.get("labelled")
        records.append({
            "image": image, "boxes": corners, "id": entry["id"],
            "labels": np.array([index[a["category_id"]] for a in own], np.int64),
            "crowd": np.array([bool(a.get("iscrowd")) for a in own], bool),
            "vague": np.zeros(len(own), bool),
            "looked": np.array([looked is None or i in looked or i in all_known for i in index], bool)})
    return records


def placed(rng, record, size, zoom):
    """Affine [2, 3] from the picture to a canvas of size (width, height); half of them mirror."""
    h, w = record["image"].shape[:2]
    longest = max(size) * np.exp(rng.uniform(np.log(zoom[0]), np.log(zoom[1])))
    sx, sy = longest / max(h, w) * np.exp(rng.uniform(-0.1, 0.1, 2))
    free = np.array([size[0] - w * sx, size[1] - h * sy])
    if len(record["boxes"]) and rng.random() < 0.7:     # an object is to be seen
        x1, y1, x2, y2 = record["boxes"][rng.integers(len(record["boxes"]))]
        middle = np.array([(x1 + x2) / 2 * sx, (y1 + y2) / 2 * sy])
        shift = size * rng.uniform(0.3, 0.7, 2) - middle
        shift = np.where(free < 0, np.clip(shift, free, 0), np.clip(shift, 0, free))
    else:
        shift = rng.random(2) * free
    if rng.random() < 0.5:
        return np.array([[-sx, 0, size[0] - shift[0]], [0, sy, shift[1]]], np.float32)
    return np.array([[sx, 0, shift[0]], [0, sy, shift[1]]], np.float32)


def coloured(rng, canvas, strength):
    """u8 [h, w, 3] -> f32 normalised, of other contrast, saturation, brightness and tint."""
    gain, grey, offset = rng.uniform(-strength, strength, 3)
    x = canvas.astype(np.float32)
    x -= MEAN
    x *= 1 / STD
    saturate = np.eye(3) * (1 + grey) - grey / 3
    x = cv2.transform(x, (saturate * (1 + gain)).astype(np.float32))
    x += (offset + rng.uniform(-strength, strength, 3) / 2
          - gain / (1 + gain) * x.mean()).astype(np.float32)
    return x


def cut(rng, record, corner, size, zoom, strength):
    """(f32 [h, w, 3] normalised, objects) for the part of a training picture that begins at corner
    (x, y) and has size (width, height); `objects` are a record's fields, boxes in the whole."""
    affine = placed(rng, record, size, zoom)
    image = record["image"]
    shrink = abs(affine[0, 0])
    way = cv2.INTER_AREA if shrink < 0.5 else cv2.INTER_LINEAR
    middles = affine.copy()         # OpenCV counts from the middle of a pixel, boxes from its edge
    middles[:, 2] += (affine[[0, 1], [0, 1]] - 1) / 2
    canvas = cv2.warpAffine(image, middles, size.tolist(), flags=way, borderValue=MEAN.tolist())
    boxes = record["boxes"].reshape(-1, 2, 2) * affine[[0, 1], [0, 1]] + affine[:, 2]
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], 1)
    inside = boxes.clip(0, np.tile(size, 2))
    sides, whole = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    seen = sides.prod(1) / np.maximum(whole.prod(1), 1e-6)
    ignored = record["crowd"] | (seen < LEAST_VISIBLE) | (sides < LEAST_SIDE).any(1)
    there = (sides > 0).all(1)
    return coloured(rng, canvas, strength), {
        "boxes": (inside[there] + np.tile(corner, 2)).astype(np.float32),
        "labels": record["labels"][there], "ignored": ignored[there],
        "vague": record["vague"][there], "looked": record["looked"]}


def composed(rng, records, side, zoom, strength):
    """A training picture of one record, or of four that meet at a point: {"x": f32 [3, side, side]
    normalised, "boxes", "labels", "ignored", "vague", "regions": f32 [r, 4] corners, "looked": bool
    [r, K], what was looked for in each}. The idea of four: Bochkovskiy et al., arXiv 2004.10934."""
    x, parts, regions = np.empty((side, side, 3), np.float32), [], []
    middle = (side * rng.uniform(0.35, 0.65, 2)).astype(int) if len(records) > 1 else [side, side]
    columns, rows = ((0, m, side) for m in middle)
    for i, record in enumerate(records):
        x1, x2, y1, y2 = *columns[i % 2:][:2], *rows[i // 2:][:2]
        x[y1:y2, x1:x2], objects = cut(rng, record, np.array([x1, y1]),
                                       np.array([x2 - x1, y2 - y1]), zoom, strength)
        parts.append(objects)
        regions.append([x1, y1, x2, y2])
    joined = {k: np.concatenate([p[k] for p in parts])
              for k in ("boxes", "labels", "ignored", "vague")}
    return {"x": x.transpose(2, 0, 1), "regions": np.array(regions, np.float32),
            "looked": np.stack([p["looked"] for p in parts]), **joined}


def hide(sample, left, top, alpha):
    """What `alpha`, whose corner lies at (left, top), mostly covers is no longer taught."""
    side, (h, w) = sample["x"].shape[1], alpha.shape
    hidden = np.zeros((side + 1, side + 1), np.float32)
    hidden[top + 1:top + 1 + h, left + 1:left + 1 + w] = alpha
    hidden = hidden.cumsum(0).cumsum(1)
    x1, y1, x2, y2 = sample["boxes"].round().astype(int).reshape(-1, 4).T
    lost = hidden[y2, x2] - hidden[y1, x2] - hidden[y2, x1] + hidden[y1, x1]
    area = np.maximum((x2 - x1) * (y2 - y1), 1)
    sample["ignored"] = sample["ignored"] | (lost > (1 - LEAST_VISIBLE) * area)


def pasted(rng, sample, cutout, strength):
    """The sample with what was cut out of another photograph in front, at any place and size. What
    it hides is no longer taught. The idea: Ghiasi et al., arXiv 2012.07177."""
    x, side = sample["x"], sample["x"].shape[1]
    h, w = cutout["alpha"].shape
    factor = side * np.exp(rng.uniform(*np.log(PASTED))) / max(h, w)
    size = [max(1, round(length * factor)) for length in (w, h)]
    image, alpha = (cv2.resize(cutout[k], size, interpolation=cv2.INTER_AREA)
                    for k in ("image", "alpha"))
    if rng.random() < 0.5:
        image, alpha = image[:, ::-1], alpha[:, ::-1]
    left, top = (int(rng.integers(side - length + 1)) for length in size)
    box = np.array([[left, top, left + size[0], top + size[1]]], np.float32)
    part = x[:, top:top + size[1], left:left + size[0]]
    part += alpha * (coloured(rng, np.ascontiguousarray(image), strength).transpose(2, 0, 1) - part)
    hide(sample, left, top, alpha)
    new = {"boxes": box, "labels": np.array([cutout["label"]]),
           "ignored": np.array([min(size) < LEAST_SIDE]), "vague": np.array([False])}
    return {**sample, **{k: np.concatenate([sample[k], v]) for k, v in new.items()}}


def repeated(records, names, classes, share):
    """The records, those with a class of `classes` that fewer than `share` of all show more often: as
    often as the root of share / frequency of the rarest (Gupta et al., LVIS, arXiv 1908.03195)."""
    factor = np.ones(len(records))
    for name in classes:
        shows = np.array([(r["labels"] == names.index(name)).any() for r in records])
        factor[shows] = np.maximum(factor[shows], np.sqrt(share / shows.mean()))
    ends = np.cumsum(factor).round().astype(int)
    return [r for r, n in zip(records, np.diff(ends, prepend=0)) for _ in range(n)]


def turned(rng, record):
    """By a quarter, a half or three quarters: for pictures without an up, as of a microscope."""
    turns, image, boxes = rng.integers(4), record["image"], record["boxes"]
    for _ in range(turns):
        width = image.shape[1]
        image = np.rot90(image)
        boxes = np.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], 1)
    return {**record, "image": np.ascontiguousarray(image), "boxes": boxes}


def fitted(image, sides):
    """As the program does: keep ratio within [long, short], bilinear; padded to multiples of 32.
    (f32 [3, H, W] normalised, (width, height) of the picture in it)"""
    h, w = image.shape[:2]
    factor = min(sides[0] / max(h, w), sides[1] / min(h, w))
    width, height = (int(side * factor + 0.5) for side in (w, h))
    way = cv2.INTER_AREA if factor < 0.5 else cv2.INTER_LINEAR
    small = cv2.resize(image, (width, height), interpolation=way)
    x = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
    x[:height, :width] = (small.astype(np.float32) - MEAN) / STD
    return x.transpose(2, 0, 1), (width, height)
