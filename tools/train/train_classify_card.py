# SPDX-License-Identifier: MIT
"""Trains a SOFT-Norm classifier on a graphics card or a CPU, by the clock (README.md).

Pictures lie on the device; batches are made there. Turned pictures are classes of their own, and so
may be objects of other pictures: what the network learns by them stays, their directions go.
"""

import argparse
import math
import os
import sys

import blas

blas.settle(threads=1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.nn import functional as F  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "eval")]
import card  # noqa: E402
import classify_common  # noqa: E402
import classify_data_card  # noqa: E402
import classify_pack  # noqa: E402
import features  # noqa: E402
import soft  # noqa: E402
import soft_card  # noqa: E402
import soft_fast  # noqa: E402
import steady  # noqa: E402


def configuration(args, classes):
    return {"dims": args.dims, "heads": [c // 32 for c in args.dims], "depths": args.depths,
            "classes": classes, "inverse": "norm", "ratios": args.ratios, "kernels": args.kernels,
            "stem": args.stem, "image": args.image, "resize": args.image * 9 // 8,
            "head": "hyperspherical", "embedding": args.embedding, "scale": args.scale,
            "landmarks": args.landmarks or "ratio"}


class Pictures:
    """All of a pack, on the device. Watched pictures are as in use: resized, the centre cut out."""

    def __init__(self, args, device):
        pack = classify_pack.unpack(args.pack, args.threads)
        self.train = torch.from_numpy(pack["train"]).permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = torch.from_numpy(pack["labels"]).to(device)
        self.names, self.device, self.order, self.at = pack["names"], device, None, 0
        sizes = {"image": args.image, "resize": args.image * 9 // 8}
        watched = [features.prepared(Image.fromarray(p), sizes) for p in pack["watch"]]
        self.watch = torch.from_numpy(np.stack(watched)).permute(0, 3, 1, 2).to(device)
        self.watch_labels = torch.from_numpy(pack["watch_labels"]).to(device)
        self.base = int(pack["watch_labels"].max()) + 1     # further classes follow the base ones

    def next(self, count):
        """(pictures, labels) of a step: every epoch in an order of its own."""
        if self.order is None or self.at + count > len(self.order):
            self.order, self.at = torch.randperm(len(self.train), device=self.device), 0
        chosen = self.order[self.at:self.at + count]
        self.at += count
        return self.train[chosen], self.labels[chosen]


class Classifier(torch.nn.Module):
    """The network to ship and, beside it, what only training has: further directions, the scale."""

    def __init__(self, args, kinds, base):
        super().__init__()
        self.net = soft.Soft(**configuration(args, base))
        classify_common.initialise(self.net)
        fast = soft_fast if args.device == "cpu" else soft_card
        fast.install(self.net, args.drop_path)
        more = kinds * (4 if args.rotations else 1) - base
        self.more = torch.nn.Parameter(F.normalize(torch.randn(more, args.embedding)))
        self.log_scale = torch.nn.Parameter(torch.tensor(float(args.scale)).log())

    def embedding(self, x, autocast):
        """Unit vectors [B, d], f32."""
        with autocast:
            for s in (1, 2, 3, 4):
                x, row = self.net.stage(x, s)
        return F.normalize(self.net.head(self.net.norm(row.float())), dim=-1, eps=1e-12)

    def forward(self, x, autocast):
        """Logits of all classes, those of `net` first; f32."""
        directions = F.normalize(torch.cat([self.net.directions, self.more]), dim=-1)
        return self.log_scale.exp() * self.embedding(x, autocast) @ directions.t()

    @torch.no_grad()
    def begin_from(self, path):
        """Takes the weights of a model file, or the averaged ones of another run."""
        if path.endswith(".safetensors"):
            old = soft.load_model(path)
            self.log_scale.fill_(math.log(old.config["scale"]))
        else:
            checkpoint = torch.load(path, map_location="cpu")
            old = soft.Soft(**checkpoint["config"])
            old.load_state_dict(checkpoint["ema"])
            self.log_scale.copy_(checkpoint["scale"])
            if self.more.shape == checkpoint["more"].shape:
                self.more.copy_(checkpoint["more"])
        classify_common.take(self.net, old)


def optimiser(model, args):
    hidden, decayed, rest = [], [], []
    for name, p in model.named_parameters():
        if name.startswith("net.") and classify_common.is_hidden(name[4:], p):
            hidden.append(p)
        else:
            (decayed if p.ndim >= 2 else rest).append(p)
    decay = args.weight_decay
    return card.Optimiser([(hidden, args.muon_lr, decay)],
                          [(decayed, args.lr, decay), (rest, args.lr, 0.0)], 1.0, args)


class Run(card.Run):
    fields, watched = ["train_top1", "scale"], ["watch_top1", "watch_loss"]

    def __init__(self, args):
        super().__init__(args)
        self.pictures = Pictures(args, self.device)
        self.model = Classifier(args, len(self.pictures.names), self.pictures.base)
        if args.init:
            self.model.begin_from(args.init)
        self.model.to(self.device)
        self.optimiser = optimiser(self.model, args)
        self.average = card.Average(self.model, args.average)
        self.ready(f"{len(self.pictures.train)} pictures of {len(self.pictures.names)} kinds")

    @torch.no_grad()
    def batch(self, progress):
        """(x, labels, partners that are mixed in, own shares)"""
        args = self.args
        pictures, labels = self.pictures.next(args.batch)
        turned = card.chance(args.rotations, labels.shape, self.device)
        quarters = torch.randint(1, 4, labels.shape, device=self.device) * turned
        side = steady.side(args.sides, progress)
        x = classify_data_card.augmented(pictures, quarters.float(), side, args)
        mixing = float(progress < args.mix_until)
        x = classify_data_card.erased(x, args.erase * mixing)
        x, partner, own = classify_data_card.mixed(x, args.cutmix * mixing, args.mixup * mixing)
        y = labels + len(self.pictures.names) * quarters
        return x.contiguous(memory_format=torch.channels_last), y, partner, own

    def losses(self, progress):
        x, y, partner, own = self.batch(progress)
        logits = self.model(x, self.autocast())
        first, second = (F.cross_entropy(logits, label, label_smoothing=self.args.smoothing,
                                         reduction="none") for label in (y, y[partner]))
        loss = (own * first + (1 - own) * second).mean()
        hits = (logits.argmax(1) == y).float().mean()
        return loss, [hits, self.model.log_scale.exp()], len(y)

    @torch.no_grad()
    def watch(self):
        """Of pictures seen from both sides."""
        model, found = self.average.model, []
        for some in self.pictures.watch.split(250):
            x = classify_data_card.normalised(some.float() / 255)
            x = x.contiguous(memory_format=torch.channels_last)
            found.append(F.normalize(sum(model.embedding(side, self.autocast())
                                         for side in (x, x.flip(3))), dim=-1))
        cosines = torch.cat(found) @ F.normalize(model.net.directions, dim=-1).t()
        labels = self.pictures.watch_labels
        return ((cosines.argmax(1) == labels).float().mean().item(),
                F.cross_entropy(cosines * model.log_scale.exp(), labels).item())

    def content(self):
        model = self.average.model
        return {"ema": model.net.state_dict(), "config": model.net.config,
                "scale": model.log_scale.detach().cpu(),
                "more": model.more.detach().cpu()}


def network_arguments(add):
    add("--dims", type=int, nargs=4, default=[64, 128, 256, 320])
    add("--depths", type=int, nargs=4, default=[1, 2, 4, 1])
    add("--ratios", type=int, nargs=3, default=[6, 3, 2])
    add("--kernels", type=int, nargs=3, default=[5, 5, 3])
    add("--stem", type=int, default=32)
    add("--image", type=int, default=96, help="side that the network sees in use")
    add("--sides", type=steady.resolution, nargs="+", metavar="SIDE:UNTIL",
        help="those that it sees in training (default: that one)")
    add("--landmarks", type=int, help="a square number (default: by the ratios)")
    add("--embedding", type=int, default=128)
    add("--scale", type=float, default=14.3, help="of the cosines, at first")
    add("--drop-path", type=float, default=0.1, help="chance that a picture misses a last branch")


def augmentation_arguments(add):
    add("--rotations", type=float, default=0.4,
        help="share of pictures turned by a quarter or more, as classes of their own")
    add("--least-area", type=float, default=0.2, help="of a random crop")
    add("--slant-share", type=float, default=0.5)
    add("--slant", type=float, default=0.3, help="radians at most")
    add("--jitter", type=float, default=0.35)
    add("--hue", type=float, default=0.06, help="of a half turn, at most")
    add("--grey", type=float, default=0.1, help="share without colour")
    add("--focus-share", type=float, default=0.3, help="made softer or sharper")
    add("--erase", type=float, default=0.2, help="share with a part erased")
    add("--cutmix", type=float, default=0.5)
    add("--mixup", type=float, default=0.2, help="share with another laid over")
    add("--mix-until", type=float, default=0.9, help="of the run; whole ones after")


def arguments(argv=None):
    parser = card.parser(__doc__, batch=768, lr=4e-3, muon_lr=4e-3, weight_decay=0.05,
                         fall_from=0.3, average=0.03)
    parser.add_argument("--init", metavar="FILE",
                        help="a model, or a checkpoint of this trainer, to go on from")
    parser.add_argument("--workers", type=int, help="processes of one thread each, on a CPU")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--smoothing", type=float, default=0.1)
    network_arguments(parser.add_argument)
    augmentation_arguments(parser.add_argument)
    args = card.parsed(parser, argv)
    if args.workers > 1 and args.device != "cpu":
        parser.error("--workers: of a CPU alone")
    args.sides = args.sides or [(args.image, 1.0)]
    return args


if __name__ == "__main__":
    steady.with_workers(lambda args: Run(args).train(), arguments())
