# SPDX-License-Identifier: MIT
"""Photographs and cut-outs of a pack (deblur_pack.py) at several sizes, decoded once into one flat
array of pixels, and random draws from them: everything that a blurred crop needs but its pixels."""

import concurrent.futures
import os

import cv2
import numpy as np

import deblur_pack
import deblur_synth

SIDES = (400, 433, 467, 503, 540, 577)      # long sides of photographs
LEVELS = tuple(int(84 * 1.25 ** k) for k in range(9))       # long sides of cut-outs, to 500
POINTS = 256        # random pixels kept of every object
STEPS = 257         # of a path


def decoded(blob):
    """RGB, RGBA or grey."""
    image = cv2.imdecode(np.ascontiguousarray(blob), cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        return image
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


def with_alpha(rgb, alpha=None):
    rgba = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)
    return cv2.insertChannel(np.zeros(rgb.shape[:2], np.uint8) if alpha is None else alpha, rgba, 3)


def points_of(alpha, seed):
    """[POINTS, 2]: pixels of the object, (y, x) as shares of the picture's sides."""
    ys, xs = np.nonzero(alpha > 127)
    pick = np.random.default_rng(seed).integers(len(ys), size=POINTS)
    return np.stack([(ys[pick] + 0.5) / alpha.shape[0], (xs[pick] + 0.5) / alpha.shape[1]], 1)


def middle_and_box(alpha):
    """Centre of gravity (y, x), then (top, bottom, left, right), as shares of the sides."""
    h, w = alpha.shape
    ys, xs = np.nonzero(alpha > 127)
    by, bx = np.nonzero(alpha > 5)
    return [ys.mean() / h, xs.mean() / w, by.min() / h, (by.max() + 1) / h, bx.min() / w,
            (bx.max() + 1) / w]


def objects(rgba, seed):
    """The object at every level up to its own size, with its points and geometry. Its colours are
    multiplied by its alpha, so that shrinking mixes none in from outside of it."""
    native = max(rgba.shape[:2])
    sizes = [s for s in LEVELS if s < 0.95 * native] + [min(native, LEVELS[-1])]
    a = cv2.cvtColor(np.ascontiguousarray(rgba[..., 3]), cv2.COLOR_GRAY2RGB)
    weighted = with_alpha(cv2.multiply(np.ascontiguousarray(rgba[..., :3]), a, scale=1 / 255),
                          np.ascontiguousarray(rgba[..., 3]))
    return [deblur_synth.fit(weighted, s) for s in sizes], points_of(rgba[..., 3], seed), \
        middle_and_box(rgba[..., 3])


def hole_of(mask):
    """Pixels of an 8-bit mask, and two around, behind which the background is made up."""
    return cv2.dilate((mask > 12).astype(np.uint8), np.ones((5, 5), np.uint8))


def prepared(job):
    """(photographs RGBA of every side, hole filled RGBA likewise or None, object or None)"""
    number, blob, mask_blob = job
    photo = decoded(blob)
    if mask_blob is None:
        return [with_alpha(deblur_synth.fit(photo, s)) for s in SIDES], None, None
    mask = decoded(mask_blob)
    fill = deblur_synth.filled(photo, hole_of(mask))
    fronts, backs = [], []
    for side in SIDES:
        p = deblur_synth.fit(photo, side)
        m = cv2.resize(mask, p.shape[1::-1], interpolation=cv2.INTER_AREA)
        alpha = deblur_synth.soften(m.astype(np.float32))
        back = p.copy()
        back = cv2.copyTo(deblur_synth.fit(fill, side), hole_of(m), back)
        fronts.append(with_alpha(p, np.round(alpha).astype(np.uint8)))
        backs.append(with_alpha(back))
    rgba = fronts[-1]
    if (rgba[..., 3] > 127).sum() < 16:         # nothing that could move
        return fronts, None, None
    cut = rgba[deblur_synth.box_of(rgba[..., 3] / np.float32(255), 2)]
    own = points_of(rgba[..., 3], number), middle_and_box(rgba[..., 3])
    return fronts, backs, (*objects(cut, number), own)


class Store:
    """`pixels` [P, 4] uint8, RGBA, all pictures end to end. Tables of [offset, h, w] for photographs
    [n, side], filled backgrounds (offset -1 where there is none) and cut-outs [n, level]."""

    def __init__(self, path, workers=None):
        workers = workers or min(16, os.cpu_count() or 1)
        photos, masks, cutouts, self.sets = deblur_pack.read(path)
        jobs = [(i, *pair) for i, pair in enumerate(zip(photos, masks))]
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:    # OpenCV drops the lock
            made = list(pool.map(prepared, jobs))
            cut = list(pool.map(lambda c: objects(decoded(c[1]), c[0]), enumerate(cutouts)))
            self.end, self.copies = 0, []
            self.photos = np.array([[self.put(p) for p in front] for front, _, _ in made])
            self.fills = np.array([[self.put(p) for p in back] if back else [(-1, 0, 0)] * len(SIDES)
                                   for _, back, _ in made])
            own = [m[2][3] if m[2] else (np.zeros((POINTS, 2)), [0.0] * 6) for m in made]
            self.has_object = np.array([m[2] is not None for m in made])
            self.set_objects([m[2][:3] for m in made if m[2]], cut)
            self.object_sets = self.sets[self.has_object]       # of those out of photographs
            self.own_points = np.stack([o[0] for o in own])
            self.own_shape = np.array([o[1] for o in own])
            self.pixels = np.empty((self.end, 4), np.uint8)
            list(pool.map(self.copy, self.copies))
        del self.copies

    def put(self, picture):
        offset, (h, w) = self.end, picture.shape[:2]
        self.copies.append((offset, picture))
        self.end += h * w
        return offset, h, w

    def copy(self, job):
        offset, picture = job
        self.pixels[offset:offset + picture.shape[0] * picture.shape[1]] = picture.reshape(-1, 4)

    def set_objects(self, of_photos, cutouts):
        """Cut-outs of photographs first, then the others; the last level fills up the table."""
        self.of_photos = len(of_photos)
        rows = []
        for levels, _, _ in of_photos + cutouts:
            row = [self.put(p) for p in levels]
            rows.append(row + row[-1:] * (len(LEVELS) + 1 - len(row)))
        self.objects = np.array(rows)
        self.points = np.stack([o[1] for o in of_photos + cutouts])
        self.shape = np.array([o[2] for o in of_photos + cutouts])


def trajectories(rng, length):
    """deblur_synth.trajectory for many: paths [n, STEPS, 2] of (x, y), unevenness [n]."""
    n, t = len(length), np.linspace(0, 1, STEPS)[None]
    def column(values):
        return values[:, None]
    turn = column(rng.normal(0, 0.8, n)) * (t - 0.5)
    wiggle = column(rng.normal(0, 0.5, n)) * np.sin(
        2 * np.pi * (t * column(rng.uniform(0.5, 1.5, n)) + column(rng.uniform(size=n))))
    heading = column(rng.uniform(0, 2 * np.pi, n)) + turn + wiggle
    speed = np.exp(column(rng.normal(0, 0.5, n)) * np.sin(
        2 * np.pi * (t * column(rng.uniform(0.3, 1.2, n)) + column(rng.uniform(size=n)))))
    speed *= column(length) / speed[:, 1:].sum(1, keepdims=True)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * speed[..., None], 1)
    return path - path.mean(1, keepdims=True), speed.max(1) * (STEPS - 1) / length


OWN, OTHER, CUTOUT, CAMERA = range(4)


def drawn(rng, sets, count):
    """`count` places in `sets`, as deblur_synth.Source.draw: a set by the root of its size."""
    _, which, sizes = np.unique(sets, return_inverse=True, return_counts=True)
    share = 1 / np.sqrt(sizes[which])
    return rng.choice(len(sets), count, p=share / share.sum())


class Plan:
    """Draws of `count` crops of `side` pixels: one array entry each. All of it on the CPU, from
    numbers alone, so that the graphics card never has to be asked for anything."""

    def __init__(self, store, rng, count, side, sharp_share):
        self.side, self.count, self.rng = side, count, rng
        self.kind = np.searchsorted([0.55, 0.68, 0.90], rng.uniform(size=count), "right")
        self.active = rng.uniform(size=count) >= sharp_share
        camera = self.kind == CAMERA
        self.length = np.exp(rng.uniform(np.log(3.0), np.log(np.where(camera, 25.0, 40.0))))
        self.gamma = rng.uniform(1.8, 2.5, count)
        self.clipped = np.where(rng.uniform(size=count) < 0.2, rng.uniform(0.2, 1.0, count), 0.0)
        self.sigma = rng.uniform(0, 1.5, count)
        self.sharpening = rng.uniform(0, 0.8, count)
        # half of the sharp crops come as they are, not even with noise
        self.sigma[~self.active & (rng.uniform(size=count) < 0.5)] = 0
        self.quality = np.where((rng.uniform(size=count) < 0.3) & (self.sigma > 0),
                                rng.integers(75, 97, count), 0)
        self.choose_photos(store)
        self.place_objects(store)
        self.draw_motion()
        self.place_crops(store)
        self.order_by_frames()

    def choose_photos(self, store):
        """A size, then a photograph that is large enough there."""
        own, sizes = self.kind == OWN, self.rng.integers(len(SIDES), size=self.count)
        chosen = np.zeros(self.count, np.int64)
        for level in range(len(SIDES)):
            fits = store.photos[:, level, 1:].min(1) >= self.side
            for mine, among in ((own, fits & store.has_object), (~own, fits)):
                here = mine & (sizes == level)
                chosen[here] = np.nonzero(among)[0][drawn(self.rng, store.sets[among], here.sum())]
        self.chosen, self.photo = chosen, store.photos[chosen, sizes]
        self.back = np.where(own[:, None], store.fills[chosen, sizes], self.photo)

    def place_objects(self, store):
        """What moves: its rectangle of pixels and where that lies in the photograph."""
        n, rng = self.count, self.rng
        self.layer, self.at = self.photo.copy(), np.zeros((n, 2), np.int64)
        shape, sides = store.own_shape[self.chosen], self.photo[:, 1:]
        self.object = np.where(self.kind == OTHER, drawn(rng, store.object_sets, n),
                               rng.integers(store.of_photos, len(store.objects), n))
        wanted = rng.uniform(0.3, 0.9, n) * sides.min(1)
        put = (self.kind == OTHER) | (self.kind == CUTOUT)
        longest = store.objects[self.object][..., 1:].max(-1)           # [n, level]
        level = np.abs(np.log(longest / wanted[:, None])).argmin(1)
        level -= (longest[np.arange(n), level] > sides.min(1)) & (level > 0)
        layer = store.objects[self.object, level]
        shape = np.where(put[:, None], store.shape[self.object], shape)
        self.layer[put] = layer[put]
        room = np.maximum(sides - layer[:, 1:], 0)
        self.at[put] = rng.integers(0, room + 1)[put]
        camera = self.kind == CAMERA
        shape[camera] = [0.5, 0.5, 0, 1, 0, 1]
        self.placed = put
        self.centre = self.at + shape[:, :2] * self.layer[:, 1:]
        box = shape[:, [3, 5]] - shape[:, [2, 4]]
        grown = np.minimum(box * self.layer[:, 1:] + 2 * (self.length[:, None] + 6), sides)
        self.radius = 0.5 * grown.max(1)

    def draw_motion(self):
        rng, n = self.rng, self.count
        self.path, unevenness = trajectories(rng, self.length)
        turns = rng.uniform(size=n) < 0.5
        self.angle = np.where(turns, rng.normal(0, 0.35, n) * self.length
                              / np.maximum(self.radius, 20), 0.0)
        travel = self.length * np.minimum(unevenness, 2.5) + np.abs(self.angle) * self.radius
        self.frames = np.where(self.active, np.ceil(1.3 * travel) + 3, 1).astype(np.int64)

    def place_crops(self, store):
        """Two thirds have a pixel in their middle half where the object is at some moment."""
        n, rng, side = self.count, self.rng, self.side
        sides = self.photo[:, 1:]
        y_x = rng.integers(0, sides - side + 1)
        points = np.where((self.kind == OWN)[:, None, None], store.own_points[self.chosen],
                          store.points[self.object])[np.arange(n), rng.integers(POINTS, size=n)]
        points[self.kind == CAMERA] = rng.uniform(size=(int((self.kind == CAMERA).sum()), 2))
        moment = rng.integers(STEPS, size=n)
        hit = self.at + points * self.layer[:, 1:] + self.path[np.arange(n), moment][:, ::-1]
        aimed = np.floor(hit - rng.uniform(side / 4, 3 * side / 4, (n, 2))).astype(np.int64)
        centred = (np.arange(n) % 3 != 0)[:, None]
        self.corner = np.clip(np.where(centred, aimed, y_x), 0, sides - side)
        far = np.abs(self.corner[:, None] + np.array([[0, 0], [0, side], [side, 0], [side, side]])
                     - self.centre[:, None])
        reach = np.hypot(far[..., 0], far[..., 1]).max(1) * np.abs(self.angle) / 2
        self.margin = np.abs(self.path).max((1, 2)) + reach

    def order_by_frames(self):
        order = np.argsort(self.frames, kind="stable")
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, value[order])

    def chunks(self, points):
        """Slices of crops with about as many frames each, no more than `points` pixels moved."""
        begin = 0
        while begin < self.count:
            end = begin + 1
            while end < self.count and \
                    (end + 1 - begin) * self.frames[end] * self.side ** 2 <= points:
                end += 1
            yield slice(begin, end)
            begin = end

    def positions(self, some):
        """(x, y) and turn at the frames of a chunk: [n, frames, 2], [n, frames]."""
        frames = int(self.frames[some].max())
        t = (np.arange(frames) + 0.5) / frames
        at = t * (STEPS - 1)
        i = np.minimum(at.astype(np.int64), STEPS - 2)
        path, part = self.path[some], (at - i)[None, :, None]
        return path[:, i] + part * (path[:, i + 1] - path[:, i]), \
            self.angle[some][:, None] * (t - 0.5)[None]
