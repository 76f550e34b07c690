# SPDX-License-Identifier: MIT
"""What a classification model says of pictures, by PyTorch or by the program, and the pictures."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "train")]
import classify_data  # noqa: E402
import episodes  # noqa: E402
import safetensors  # noqa: E402

OUTPUTS = ("logits", "embedding", "pool3", "pool4")
BATCH = 100


def prepared(picture, config):
    """PIL picture -> uint8 [side, side, 3]: short side resized (bicubic), centre cropped."""
    short, side = config["resize"], config["image"]
    w, h = picture.size
    if min(w, h) != short:
        size = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
        picture = picture.resize(size, Image.BICUBIC)
    w, h = picture.size
    left, top = round((w - side) / 2), round((h - side) / 2)
    return np.asarray(picture.crop((left, top, left + side, top + side)).convert("RGB"))


class TorchEngine:
    def __init__(self, path=None, model=None):
        """A model file, or a model of soft.py."""
        import soft
        import soft_fast
        import steady
        import torch
        steady.prepare()
        self.torch, self.model = torch, (model or soft.load_model(path)).eval()
        self.config = self.model.config
        self.model.to(memory_format=torch.channels_last)
        if self.config["inverse"] == "norm":
            soft_fast.install(self.model)

    def directions(self):
        """Of the trained classes; only heads with an embedding have them."""
        return episodes.unit(self.model.directions.detach().numpy())

    def run(self, batch):
        """uint8 [n, side, side, 3] -> {output: f32 array}"""
        with self.torch.no_grad():
            x = classify_data.normalised(batch)
            out = self.model(x.contiguous(memory_format=self.torch.channels_last))
        return {k: out[k].numpy() for k in OUTPUTS if k in out}


class SoftlensEngine:
    """`softlens run`, one process per picture."""

    def __init__(self, path, binary):
        import soft
        self.tensors, metadata = safetensors.load(path)
        self.config = soft.full_config(json.loads(metadata["config"]))
        self.path, self.binary = path, binary

    def directions(self):
        return episodes.unit(np.asarray(self.tensors["directions"], np.float32))

    def one(self, picture):
        with tempfile.TemporaryDirectory() as folder:
            return self.one_in(folder, picture)

    def one_in(self, folder, picture):
        source = os.path.join(folder, "x.npy")
        mean, std = (np.array(self.config[k], np.float32) for k in ("mean", "std"))
        np.save(source, (picture.astype(np.float32) / np.float32(255) - mean) / std)
        subprocess.run([self.binary, "run", self.path, "--input", source, "--output-dir", folder],
                       check=True, stdout=subprocess.DEVNULL)
        files = {k: os.path.join(folder, f"{k}.npy") for k in OUTPUTS}
        return {k: np.load(f) for k, f in files.items() if os.path.exists(f)}

    def run(self, batch):
        answers = [self.one(picture) for picture in batch]
        return {k: np.stack([a[k] for a in answers]) for k in answers[0]}


def answers(engine, batch):
    """Of a batch, as in pipeline/classify.c: with "mirror", means over both sides. Embeddings are
    of unit length: a linear head leaves them as long as they are, galleries do not."""
    found = engine.run(batch)
    if engine.config["mirror"]:
        other = engine.run(np.ascontiguousarray(batch[:, :, ::-1]))
        for side in (found, other):
            side["embedding"] = episodes.unit(side["embedding"])
        found = {k: (v + other[k]) / 2 for k, v in found.items()}
    found["embedding"] = episodes.unit(found["embedding"])
    if engine.config["mirror"] and engine.config["embedding"]:
        found["logits"] = engine.config["scale"] * found["embedding"] @ engine.directions().T
    return found


def of(engine, pictures):
    """{output: f32 [n, ...]} of an iterable of PIL pictures."""
    parts, batch = [], []
    for picture in pictures:
        batch.append(prepared(picture, engine.config))
        if len(batch) == BATCH:
            parts.append(answers(engine, np.stack(batch)))
            batch = []
    if batch:
        parts.append(answers(engine, np.stack(batch)))
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


class Data:
    """The classification data: base and novel pictures with labels, and sets of unknowns."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {split: [name for _, name in rows]
                      for split, rows in classify_data.labels(folder).items()}

    def labelled(self, name):
        """(PIL pictures, labels) of "base-train", "base-val", "novel-support", "novel-query"."""
        archive, part = classify_data.ARCHIVES[name]
        rows = classify_data.labels(self.folder)[name.split("-")[0]]
        order = {identity: i for i, (identity, _) in enumerate(rows)}
        found = list(classify_data.pictures(os.path.join(self.folder, archive), part))
        return [p for _, p in found], np.array([order[i] for i, _ in found])

    def large(self, part):
        """(PIL pictures, labels) of the Caltech-101 pictures, "support" or "query"."""
        path = os.path.join(self.folder, "large", "novel.tar.gz")
        found = list(classify_data.pictures(path, part))
        order = {identity: i for i, identity in enumerate(sorted({i for i, _ in found}))}
        return [p for _, p in found], np.array([order[i] for i, _ in found])


def photographs(folders, limit):
    """At most `limit` JPEG files of every folder, searched deeply, evenly spread over its names."""
    found = []
    for folder in folders:
        paths = sorted(os.path.join(root, name) for root, _, names in os.walk(folder)
                       for name in names if name.lower().endswith((".jpg", ".jpeg")))
        if not paths:
            raise SystemExit(f"{folder}: no JPEG file in it")
        for i in np.unique(np.linspace(0, len(paths) - 1, limit).astype(int)):
            found.append(Image.open(paths[i]).convert("RGB"))
    return found


def halves(labels):
    """Two index arrays: the pictures of each class alternately."""
    first = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        first[np.flatnonzero(labels == label)[::2]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)
