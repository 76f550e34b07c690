# SPDX-License-Identifier: MIT
"""Makes locally blurred pictures out of sharp ones: an object moves while the shutter is open."""

import csv
import os

import cv2
import numpy as np

import picture_file

cv2.setNumThreads(1)


class Source:
    """The photographs, masks and cut-outs of a data directory (its index.csv says which)."""

    def __init__(self, root):
        self.root = root
        with open(os.path.join(root, "index.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        def names(split):
            return [r["file"] for r in rows if r["split"] == split]
        self.photos = names("train")
        self.masked = [r["file"] for r in rows if r["split"] == "train" and r["has_mask"] == "1"]
        self.cutouts, self.val = names("train-cutout"), names("val")
        self.set_of = {r["file"]: r.get("source_repo", "") for r in rows}

    def draw(self, rng, names):
        """One of `names`, by the root of how many there are of its set: the small sets hold other
        things than the large ones, which would drown them."""
        sets = {}
        for name in names:
            sets.setdefault(self.set_of[name], []).append(name)
        share = np.sqrt([len(s) for s in sets.values()])
        chosen = list(sets.values())[rng.choice(len(sets), p=share / share.sum())]
        return str(rng.choice(chosen))

    def photo(self, name, side):
        return fit(picture_file.read(os.path.join(self.root, name)), side)

    def mask(self, name, shape):
        stem = os.path.splitext(name)[0].replace("photos/", "masks/")
        m = picture_file.read(os.path.join(self.root, stem + ".png"), cv2.IMREAD_GRAYSCALE)
        return cv2.resize(m, shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    def cutout(self, name):
        m = picture_file.read(os.path.join(self.root, name), cv2.IMREAD_UNCHANGED)
        return cv2.cvtColor(m, cv2.COLOR_BGRA2RGBA)


def fit(image, side):
    """Shrinks (never enlarges) to a long side of `side`."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def sharpened(rng, photo):
    """Somewhat: the photographs to train on are softer than others, those to validate on among
    them (2 to 4 dB less power above 0.3 cycles a pixel)."""
    soft = cv2.GaussianBlur(photo, (0, 0), 0.7)
    amount = rng.uniform(0, 0.8)
    return cv2.addWeighted(photo, 1 + amount, soft, -amount, 0)


def trajectory(rng, length):
    """A curved path of `length` pixels at uneven speed; its mean over time is the origin."""
    t = np.linspace(0, 1, 257)
    turn = rng.normal(0, 0.8) * (t - 0.5)
    wiggle = rng.normal(0, 0.5) * np.sin(2 * np.pi * (t * rng.uniform(0.5, 1.5) + rng.uniform()))
    heading = rng.uniform(0, 2 * np.pi) + turn + wiggle
    speed = np.exp(rng.normal(0, 0.5) * np.sin(2 * np.pi * (t * rng.uniform(0.3, 1.2)
                                                            + rng.uniform())))
    speed *= length / speed[1:].sum()
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * speed[:, None], 0)
    return path - path.mean(0), speed.max() * 256 / length


def move(layer, path, angle, frames):
    """(mean, union): the premultiplied RGBA layer averaged over its motion, and its reach."""
    h, w = layer.shape[:2]
    ys, xs = np.nonzero(layer[..., 3] > 0.5)
    cx, cy = (xs.mean(), ys.mean()) if len(xs) else (w / 2, h / 2)
    mean, union = np.zeros_like(layer), np.zeros((h, w), np.float32)
    for t in (np.arange(frames) + 0.5) / frames:
        at = t * (len(path) - 1)
        i = min(int(at), len(path) - 2)
        dx, dy = path[i] + (at - i) * (path[i + 1] - path[i])
        m = cv2.getRotationMatrix2D((cx, cy), np.degrees(angle) * (t - 0.5), 1.0)
        m[:, 2] += dx, dy
        frame = cv2.warpAffine(layer, m, (w, h), borderMode=cv2.BORDER_REPLICATE)
        mean += frame
        np.maximum(union, frame[..., 3], out=union)
    return mean / frames, union


def box_of(alpha, margin):
    """Slices of the box around alpha, `margin` pixels larger, within the picture."""
    ys, xs = np.nonzero(alpha > 0.02)
    h, w = alpha.shape
    return (slice(max(ys.min() - margin, 0), min(ys.max() + margin + 1, h)),
            slice(max(xs.min() - margin, 0), min(xs.max() + margin + 1, w)))


def filled(photo, hole):
    """The photo with its hole filled from around it, at a third of the size: it is never seen
    but through the smear of what moves in front."""
    small = (max(photo.shape[1] // 3, 8), max(photo.shape[0] // 3, 8))
    grown = cv2.dilate(hole, np.ones((3, 3), np.uint8))
    mask = (cv2.resize(grown, small, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    fill = cv2.inpaint(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), mask, 3,
                       cv2.INPAINT_TELEA)
    fill = cv2.resize(fill, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(hole[..., None] > 0, fill, photo)


def draw_length(rng, low=3.0, high=40.0):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def expose(rng, front, alpha, back, sharp, length):
    """(blurred, mask): `front` under `alpha` moves over `back`; untouched pixels are `sharp`'s.

    All pictures are uint8; light adds up in linear space, under a camera curve drawn here.
    """
    gamma = rng.uniform(1.8, 2.5)
    curve = (np.arange(256) / 255.0) ** gamma
    if rng.uniform() < 0.2:         # highlights that the sharp photo has clipped
        curve *= 1 + rng.uniform(0.2, 1.0) * (np.arange(256) / 255.0) ** 12
    curve = curve.astype(np.float32)
    box = box_of(alpha, int(length) + 6)
    a = alpha[box][..., None]
    layer = np.concatenate([curve[front[box]] * a, a], -1)
    path, unevenness = trajectory(rng, length)
    radius = 0.5 * max(a.shape[:2])
    angle = 0.0
    if rng.uniform() < 0.5:
        angle = rng.normal(0, 0.35) * length / max(radius, 20)
    travel = length * min(unevenness, 2.5) + abs(angle) * radius
    mean, union = move(layer, path, angle, int(np.ceil(1.3 * travel)) + 3)
    light = mean[..., :3] + (1 - mean[..., 3:]) * curve[back[box]]
    smeared = np.clip(light, 0, 1) ** (1 / gamma) * 255
    reach = np.clip(union * 8, 0, 1)[..., None]
    blurred = sharp.astype(np.float32)
    blurred[box] = reach * smeared + (1 - reach) * blurred[box]
    mask = np.zeros(alpha.shape, np.uint8)
    mask[box] = (union > 0.02) * np.uint8(255)
    return blurred, mask


def soften(mask):
    """A mask eroded by a pixel and feathered."""
    return cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.8)


def own_object(rng, photo, mask, length):
    """The photo's own object moves; the target is the photo itself."""
    alpha = soften(mask)
    if alpha.max() < 0.5:
        return None
    hole = cv2.dilate((mask > 0.05).astype(np.uint8), np.ones((5, 5), np.uint8))
    blurred, reach = expose(rng, photo, alpha, filled(photo, hole), photo, length)
    return blurred, photo, reach


def placed(rng, photo, rgba, length):
    """A cut-out, scaled and put somewhere on the photo, moves."""
    h, w = photo.shape[:2]
    if rng.uniform() < 0.5:
        rgba = rgba[:, ::-1]
    size = rng.uniform(0.3, 0.9) * min(h, w) / max(rgba.shape[:2])
    size = min(size, 1.0)
    rgba = cv2.resize(np.ascontiguousarray(rgba), None, fx=size, fy=size,
                      interpolation=cv2.INTER_AREA)
    oh, ow = rgba.shape[:2]
    y, x = (int(rng.integers(0, max(s - o, 0) + 1)) for s, o in ((h, oh), (w, ow)))
    rgba = rgba[:h, :w]
    oh, ow = rgba.shape[:2]
    front, alpha = np.zeros_like(photo), np.zeros((h, w), np.float32)
    front[y:y + oh, x:x + ow] = rgba[..., :3]
    alpha[y:y + oh, x:x + ow] = rgba[..., 3].astype(np.float32) / 255
    if alpha.max() < 0.5:
        return None
    sharp = photo + (front.astype(np.float32) - photo) * alpha[..., None]
    sharp = np.round(sharp).astype(np.uint8)
    blurred, reach = expose(rng, front, alpha, photo, sharp, length)
    return blurred, sharp, reach


def shaken(rng, photo, length):
    """The camera moves: everything is blurred."""
    alpha = np.ones(photo.shape[:2], np.float32)
    blurred, reach = expose(rng, photo, alpha, photo, photo, length)
    return blurred, photo, reach


def sensor(rng, blurred):
    """Noise, rounding and, for three pictures in ten, JPEG."""
    sigma = rng.uniform(0, 1.5)
    noisy = blurred + rng.normal(0, 1, blurred.shape).astype(np.float32) * sigma
    noisy = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    if rng.uniform() < 0.3:
        quality = int(rng.integers(75, 97))
        packed = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        noisy = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(noisy)


def training_pair(source, rng):
    """(input, target, mask, length), uint8; None where the draw gave nothing usable."""
    side = int(rng.integers(400, 577))
    length, kind = draw_length(rng), rng.uniform()

    def photo_of(names):
        name = source.draw(rng, names)
        return name, sharpened(rng, source.photo(name, side))

    if kind < 0.55:
        name, photo = photo_of(source.masked)
        made = own_object(rng, photo, source.mask(name, photo.shape), length)
    elif kind < 0.68:
        name, other = photo_of(source.masked)
        alpha = soften(source.mask(name, other.shape))
        if alpha.max() < 0.5:
            return None
        rgba = np.dstack([other, np.round(alpha * 255).astype(np.uint8)])[box_of(alpha, 2)]
        made = placed(rng, photo_of(source.photos)[1], rgba, length)
    elif kind < 0.90:
        rgba = source.cutout(str(rng.choice(source.cutouts)))
        made = placed(rng, photo_of(source.photos)[1], rgba, length)
    else:
        made = shaken(rng, photo_of(source.photos)[1], draw_length(rng, 3, 25))
    if made is None:
        return None
    blurred, sharp, mask = made
    return sensor(rng, blurred), sharp, mask, length


def validation_pairs(source, seed, side=512, longest=40.0, enlarge=1):
    """One pair for each validation photo, its own object moving; the same for the same seed. With
    `enlarge`, as a camera with that many times more pixels a side (and no finer eye) takes it."""
    for i, name in enumerate(source.val):
        rng = np.random.default_rng([seed, i])
        photo = source.photo(name, side)
        mask = source.mask(name, photo.shape)
        length = draw_length(rng, high=longest) * enlarge
        if enlarge > 1:
            photo = cv2.resize(photo, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
            mask = cv2.resize(mask, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        blurred, sharp, mask = own_object(rng, photo, mask, length)
        yield name, sensor(rng, blurred), sharp, mask, length
