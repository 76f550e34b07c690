# SPDX-License-Identifier: MIT
"""A growing store of training pairs in flat files: workers append, the trainer maps and crops."""

import argparse
import multiprocessing
import os

import numpy as np

import deblur_synth

CHANNELS = 7        # input RGB, target RGB, mask
PLAIN_SHARE = 0.15  # of the crops without blur


def append(raw, index, start, pair):
    """Writes (input, target, mask, length) at `start` of the store; where it ends."""
    blurred, sharp, mask, length = pair
    block = np.concatenate([blurred, sharp, mask[..., None]], -1)
    raw.write(block.tobytes())
    raw.flush()
    end = start + block.size
    index.write(f"{end},{block.shape[0]},{block.shape[1]},{length:.2f}\n")
    index.flush()
    return end


def fill(data, folder, worker, count, seed):
    """Appends `count` pairs to this worker's file. An interrupted fill goes on where it was."""
    source = deblur_synth.Source(data)
    index_path = os.path.join(folder, f"{worker}.csv")
    done = sum(1 for _ in open(index_path)) if os.path.exists(index_path) else 0
    start = int(open(index_path).readlines()[-1].split(",")[0]) if done else 0
    with open(os.path.join(folder, f"{worker}.raw"), "ab") as raw, open(index_path, "a") as index:
        raw.truncate(start)
        for i in range(done, count):
            pair, attempt = None, 0
            while pair is None:
                rng = np.random.default_rng([seed, worker, i, attempt])
                pair, attempt = deblur_synth.training_pair(source, rng), attempt + 1
            start = append(raw, index, start, pair)


class Pairs:
    """What the workers have written so far; `refresh` looks again."""

    def __init__(self, folder):
        self.folder, self.maps, self.entries = folder, {}, []
        self.refresh()

    def refresh(self):
        entries = []
        for name in sorted(n for n in os.listdir(self.folder) if n.endswith(".csv")):
            with open(os.path.join(self.folder, name)) as file:
                lines = [line.split(",") for line in file if line.endswith("\n")]
            if not lines:
                continue
            raw = os.path.join(self.folder, name[:-4] + ".raw")
            size = int(lines[-1][0])
            if name not in self.maps or self.maps[name].size < size:
                self.maps[name] = np.memmap(raw, np.uint8, "r", shape=(size,))
            for end, h, w, _ in lines:
                entries.append((name, int(end), int(h), int(w)))
        self.entries = entries

    def block(self, i):
        name, end, h, w = self.entries[i]
        return self.maps[name][end - h * w * CHANNELS:end].reshape(h, w, CHANNELS)

    def crop(self, rng, side, blurred):
        """A [side, side, 7] crop of any pair, its centre in the blur when `blurred`."""
        while True:
            block = self.block(int(rng.integers(len(self.entries))))
            h, w = block.shape[:2]
            if min(h, w) < side:
                continue
            y, x = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
            if blurred:
                ys, xs = np.nonzero(block[::4, ::4, 6])
                if not len(ys):
                    continue
                k = int(rng.integers(len(ys)))
                y = int(np.clip(4 * ys[k] - rng.integers(side // 4, 3 * side // 4), 0, h - side))
                x = int(np.clip(4 * xs[k] - rng.integers(side // 4, 3 * side // 4), 0, w - side))
            return augmented(rng, block[y:y + side, x:x + side])


def augmented(rng, crop):
    if rng.uniform() < 0.5:
        crop = crop[:, ::-1]
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.uniform() < 0.15:
        order = rng.permutation(3)
        crop = crop[..., [*order, *(order + 3), 6]]
    return np.ascontiguousarray(crop)


def plain(rng, side):
    """As in drawings and clipped skies: one colour, one that runs into another, or an edge of two."""
    colours = rng.integers(0, 256, (2, 3)) if rng.uniform() < 0.7 else rng.choice([0, 255], (2, 1))
    angle, kind = rng.uniform(0, 2 * np.pi), rng.integers(3)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    across = x * np.cos(angle) + y * np.sin(angle)
    share = (0, across / (2 * abs(across).max()) + 0.5,
             across > rng.uniform(-side / 4, side / 4))[kind] * np.ones((side, side))
    image = np.round(colours[0] + share[..., None] * (colours[1] - colours[0])).astype(np.uint8)
    image = np.broadcast_to(image, (side, side, 3))
    return np.concatenate([image, image, np.zeros((side, side, 1), np.uint8)], -1)


def batch(pairs, rng, count, side, sharp_share, hard=None, hard_share=0.0):
    """[count, side, side, 7] uint8; a share with no blur at all, a share out of the store `hard`; of
    the rest the first, fourth ... anywhere, the others centred in blur."""
    crops = []
    for i in range(count):
        kind = rng.uniform()
        if kind < hard_share:
            crops.append(hard.crop(rng, side, False))
        elif kind < hard_share + PLAIN_SHARE * sharp_share:
            crops.append(plain(rng, side))
        elif kind < hard_share + sharp_share:
            crop = pairs.crop(rng, side, False)
            crop[..., :3], crop[..., 6] = crop[..., 3:6], 0
            crops.append(crop)
        else:
            crops.append(pairs.crop(rng, side, i % 3 != 0))
    return np.stack(crops)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", required=True, help="folder of the store")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.makedirs(args.pairs, exist_ok=True)
    jobs = [multiprocessing.Process(target=fill, args=(
        args.data, args.pairs, k, args.count // args.workers, args.seed))
        for k in range(args.workers)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        raise SystemExit(f"{args.pairs}: not filled")


if __name__ == "__main__":
    main()
