# SPDX-License-Identifier: MIT
"""The classification pictures: decoded once from their archives, and augmented batches of them.

    python3 tools/train/classify_data.py --data DATA --store STORE

STORE/NAME.npy is uint8 [n, 64, 64, 3], STORE/NAME.labels.npy int64 [n], for NAME in base-train,
base-val, novel-support and novel-query. Labels count in the order of labels.tsv.
"""

import argparse
import csv
import io
import os
import tarfile

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

SIDE = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ARCHIVES = {"base-train": ("base-train.tar.gz", "train"), "base-val": ("base-val.tar.gz", "val"),
            "novel-support": ("novel.tar.gz", "support"), "novel-query": ("novel.tar.gz", "query")}


def labels(data):
    """({"base": [(class id, name), ...], "novel": [...]}) in the order of labels.tsv."""
    found = {"base": [], "novel": []}
    with open(os.path.join(data, "labels.tsv"), newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found[row["split"]].append((row["class_id"], row["name"]))
    return found


def pictures(path, part):
    """Yields (class id, RGB picture) of an archive, sorted by name, whose path has `part`."""
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            folders = member.name.split("/")
            if member.isfile() and part in folders[:-1]:
                identity = next(f for f in folders[-3:-1] if f != part)
                content = archive.extractfile(member).read()
                yield identity, Image.open(io.BytesIO(content)).convert("RGB")


def make_store(data, store):
    """What is in the store already, stays. The labels are written last."""
    os.makedirs(store, exist_ok=True)
    for name, (archive, part) in ARCHIVES.items():
        if os.path.exists(os.path.join(store, f"{name}.labels.npy")):
            continue
        order = {identity: i for i, (identity, _) in
                 enumerate(labels(data)[name.split("-")[0]])}
        found = list(pictures(os.path.join(data, archive), part))
        np.save(os.path.join(store, f"{name}.npy"), np.stack([np.asarray(p) for _, p in found]))
        np.save(os.path.join(store, f"{name}.labels.npy"), np.array([order[i] for i, _ in found]))


def load(store, name):
    """(uint8 [n, 64, 64, 3], int64 [n])"""
    return (np.load(os.path.join(store, f"{name}.npy")),
            np.load(os.path.join(store, f"{name}.labels.npy")))


def held_apart(pictures, labels, held):
    """(the rest, the last `held` pictures of each class), each (pictures, labels)."""
    keep = np.ones(len(labels), bool)
    for label in np.unique(labels):
        keep[np.flatnonzero(labels == label)[-held:]] = False
    return (pictures[keep], labels[keep]), (pictures[~keep], labels[~keep])


def normalised(batch):
    """uint8 [B, H, W, 3] -> f32 [B, 3, H, W], channels last in memory."""
    x = torch.as_tensor(batch).permute(0, 3, 1, 2).float().div_(255)
    shape = (1, 3, 1, 1)
    return (x - torch.tensor(MEAN).view(shape)).div_(torch.tensor(STD).view(shape))


def crop_grid(rng, count, side, least):
    """A random part of each picture (`least` to all of its area, sides 3:4 to 4:3), half of them
    mirrored, as a sampling grid [count, side, side, 2]."""
    area = rng.uniform(least, 1, count)
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), count) / 2)
    size = np.minimum(np.sqrt(area) * np.stack([aspect, 1 / aspect]), 1)      # [x and y, count]
    shift = rng.uniform(-1, 1, size.shape) * (1 - size)
    size[0] *= np.where(rng.random(count) < 0.5, -1, 1)
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = size
    theta[:, 0, 2], theta[:, 1, 2] = shift
    return F.affine_grid(torch.from_numpy(theta), (count, 3, side, side), align_corners=False)


def colour_jitter(x, rng, strength):
    """Brightness, contrast and saturation of each picture of x [B, 3, H, W], normalised."""
    count = len(x)
    gain, grey, offset = (torch.from_numpy(rng.uniform(-strength, strength, (count, 1, 1, 1))
                                           .astype(np.float32)) for _ in range(3))
    x = x + grey * (x - x.mean(1, keepdim=True))
    return x + gain * (x - x.mean((1, 2, 3), keepdim=True)) + offset


def augmented(batch, rng, side, least, jitter):
    """uint8 [B, 64, 64, 3] -> f32 [B, 3, side, side]."""
    grid = crop_grid(rng, len(batch), side, least)
    x = F.grid_sample(normalised(batch), grid, padding_mode="reflection", align_corners=False)
    return colour_jitter(x, rng, jitter).contiguous(memory_format=torch.channels_last)


def pasted(x, partner, rng):
    """CutMix (arXiv 1905.04899): one box of every picture of x [B, 3, H, W], replaced in place by
    that of x[partner]. Returns the share of the picture that stays."""
    h, w = x.shape[2:]
    side = np.sqrt(1 - rng.uniform())
    boxes = []
    for size in (h, w):
        half, centre = round(size * side / 2), int(rng.integers(size))
        boxes.append(slice(max(centre - half, 0), min(centre + half, size)))
    rows, columns = boxes
    x[:, :, rows, columns] = x[partner][:, :, rows, columns]
    return 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (h * w)


def mixed(x, rng, cutmix, mixup, alpha=0.8):
    """Mixes pictures by pairs, by CutMix or mixup (arXiv 1710.09412) at these probabilities.
    Returns (x, each one's partner, the picture's own share of the label)."""
    partner, which = torch.from_numpy(rng.permutation(len(x))), rng.uniform()
    if which < cutmix:
        return x, partner, pasted(x, partner, rng)
    if which < cutmix + mixup:
        own = rng.beta(alpha, alpha)
        return x.lerp(x[partner], 1 - own), partner, own
    return x, partner, 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the archives and labels.tsv")
    parser.add_argument("--store", required=True)
    args = parser.parse_args()
    make_store(args.data, args.store)


if __name__ == "__main__":
    main()
