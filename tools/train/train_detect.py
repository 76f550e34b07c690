# SPDX-License-Identifier: MIT
"""Trains a small RetinaNet on a SOFT classifier's backbone. Run again to resume (README.md)."""

import argparse
import os
import sys
import time

import blas

blas.settle(threads=1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import distributed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import detect_common  # noqa: E402
import detect_data  # noqa: E402
import detect_loss  # noqa: E402
import detect_more  # noqa: E402
import muon  # noqa: E402
import retina  # noqa: E402
import soft  # noqa: E402
import soft_fast  # noqa: E402
import steady  # noqa: E402

PHOTOGRAPHS, SMALL = 0.2, 0.35      # of what is drawn for a mosaic, with --more
MOSAIC_UNTIL = 0.85                 # of a run; after it all pictures are whole ones
SELDOM = 0.15                       # of the pictures: what is in fewer is shown more often
FIELDS = ["time", "spent_s", "step", "pictures", "progress", "side", "factor", "loss", "cls", "box"]


def in_bf16(module):
    """Its products in bf16; what it returns, if a tensor, in f32."""
    forward = torch.autocast("cpu", torch.bfloat16)(module.forward)

    def whole(x):
        y = forward(x)
        return y.float() if torch.is_tensor(y) else y
    module.forward = whole


def network(args):
    """The detector with the classifier's backbone, which sees 16 landmarks at any size."""
    base = soft.load_model(args.backbone)
    keep = ("dims", "heads", "depths", "inverse", "ratios", "kernels", "stem", "image")
    backbone = {**{k: base.config[k] for k in keep}, "landmarks": 16}
    torch.manual_seed(args.seed)
    model = retina.Retina(backbone=backbone, classes=len(args.classes), channels=args.channels,
                          tower=args.tower, anchor_scale=args.anchor_scale, image=args.image)
    model.initialise()
    state = base.state_dict()
    own = model.backbone.state_dict()
    for key in own:
        value = state[key]
        if key == "pos_embed4":         # the class token's row is not needed
            value = value[:, -own[key].shape[1]:]
        own[key] = value
    if not args.random:
        model.backbone.load_state_dict(own)
    if args.init:
        old, labels = retina.load_model(args.init)
        detect_common.take(model, old, args.classes, labels)
    soft_fast.install(model.backbone)
    model.train()
    if not args.random:
        detect_common.frozen_statistics(model)
    if not blas.products_in_bf16():
        return model.to(memory_format=torch.channels_last)
    for name, part in model.named_modules():
        linear = isinstance(part, torch.nn.Linear) and not name.endswith("W_q")
        if linear or "embed" in name.rsplit(".", 1)[-1] or part in (model.neck, model.bbox_head):
            in_bf16(part)
    return model.to(memory_format=torch.channels_last)


def drawn(rng, groups):
    """One thing of [(things, share of all draws)]."""
    group = groups[rng.choice(len(groups), p=[share for _, share in groups])][0]
    return group[rng.integers(len(group))]


class Pictures:
    """The annotated pictures in the order of an epoch, what may stand beside one of them in a mosaic,
    and what may be pasted in front."""

    def __init__(self, args):
        records = detect_data.read(args.annotations, args.images, args.classes, args.longest,
                                   args.complete)
        self.order = detect_data.repeated(records, args.classes, args.balance, SELDOM)
        self.beside, self.cutouts = [(records, 1.0)], []
        if args.more:
            masked = detect_more.masked(os.path.join(args.more, "sharp"), args.classes)
            small = detect_more.small_pictures(os.path.join(args.more, "classify"), args.classes,
                                               args.longest)
            self.beside = [(records, 1 - PHOTOGRAPHS - SMALL),
                           (detect_more.photographs(masked, args.classes, args.longest), PHOTOGRAPHS),
                           *((group, share * SMALL) for group, share in small)]
            self.cutouts = detect_more.cutouts(masked, args.classes, args.longest)


class Optimiser:
    """Muon for hidden matrices and kernels, AdamW for the rest; the backbone learns slower."""

    def __init__(self, model, args):
        hidden, rest = detect_common.parameter_groups(model)
        share, rates = (args.rank, args.workers), (args.backbone_rate, 1)
        self.args, self.rest = args, rest[0] + rest[1]
        self.muons = [(muon.Muon(part, weight_decay=args.weight_decay, dtype=torch.float32,
                                 share=share, gather=distributed.all_reduce), args.muon_lr * rate)
                      for part, rate in zip(hidden, rates)]
        self.adam = torch.optim.AdamW([{"params": part, "rate": args.lr * rate}
                                       for part, rate in zip(rest, rates)],
                                      betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, factor):
        torch.nn.utils.clip_grad_norm_(self.rest, 5.0)
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * factor
        self.adam.step()
        for m, rate in self.muons:
            m.step(rate * factor)

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "muons": [m.state_dict() for m, _ in self.muons]}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        for (m, _), s in zip(self.muons, state["muons"]):
            m.load_state_dict(s)


class Run:
    """All that a run keeps: network, averaged weights, optimiser, step and time spent."""

    def __init__(self, args):
        self.args = args
        self.model = network(args)
        self.loss = detect_loss.Loss(self.model.config, args.box_weight)
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = Optimiser(self.model, args)
        self.step, self.spent, self.pictures, self.began = 0, 0.0, 0, time.time()
        self.path = os.path.join(args.out, "checkpoint.pt")
        if os.path.exists(self.path):
            c = torch.load(self.path)
            self.model.load_state_dict(c["model"])
            self.optimiser.load_state_dict(c["optimiser"])
            self.ema, self.step, self.spent, self.began = c["ema"], c["step"], c["spent"], c["began"]
            self.pictures = c["pictures"]

    def checkpoint(self):
        steady.save(self.path, {
            "model": self.model.state_dict(), "ema": self.ema, "step": self.step,
            "optimiser": self.optimiser.state_dict(), "spent": self.spent, "began": self.began,
            "pictures": self.pictures, "config": self.model.config, "args": vars(self.args)})

    def progress(self):
        done = steady.share_done(self.step, self.args, self.began)
        return steady.first_worker_says(done, self.args.workers)

    def samples(self, pictures, side, progress):
        """This worker's share of the step's pictures, every epoch in an order of its own."""
        args, records = self.args, pictures.order
        batch = max(1, round(args.batch * (args.sides[-1][0] / side) ** 2))
        place = self.pictures + args.rank * batch + np.arange(batch)
        rng = np.random.default_rng([args.seed, self.step, args.rank])
        samples = []
        for i in place:
            epoch, at = divmod(int(i), len(records))
            chosen = np.random.default_rng([args.seed, epoch]).permutation(len(records))[at]
            group = [detect_data.turned(rng, records[chosen]) if args.turn else records[chosen]]
            if rng.random() < args.mosaic and progress < MOSAIC_UNTIL:
                group += [drawn(rng, pictures.beside) for _ in range(3)]
                group = [group[i] for i in rng.permutation(4)]
            sample = detect_data.composed(rng, group, side, args.zoom, args.jitter)
            while rng.random() < args.paste:
                sample = detect_data.pasted(rng, sample, drawn(rng, pictures.cutouts), args.jitter)
            samples.append(sample)
        return samples

    def advance(self, pictures, progress):
        """One step; returns its row of numbers for the log."""
        args, began = self.args, time.monotonic()
        side = steady.side(args.sides, progress)
        factor = steady.rate(progress, self.step, args.constant)
        samples = self.samples(pictures, side, progress)
        x = torch.from_numpy(np.stack([s["x"] for s in samples]))
        out = self.model(x.contiguous(memory_format=torch.channels_last))
        loss, cls, box = self.loss(out, side, samples)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        if steady.average_gradients(self.model, args.workers):
            self.optimiser.step(factor)
        steady.follow(self.ema, self.model, self.step, args.ema)
        self.step += 1
        self.pictures += len(samples) * args.workers
        self.spent += min(time.monotonic() - began, 30.0)       # a pause does not count
        return [progress, side, factor, loss.item(), cls, box]


def write_log(run, rows):
    mean = [f"{v:.5g}" for v in np.mean(rows, 0)]
    steady.log(run.args.out, FIELDS, f"{run.spent:.1f}", run.step, run.pictures, *mean)


def train(args):
    steady.prepare()
    cv2.setNumThreads(1)
    steady.join(args)
    pictures = Pictures(args)
    run = Run(args)
    saved, rows, progress = time.monotonic(), [], run.progress()
    while progress < 1:
        rows.append(run.advance(pictures, progress))
        if args.rank == 0 and run.step % 25 == 0:
            write_log(run, rows)
            rows = []
        if args.rank == 0 and time.monotonic() - saved > 120:
            run.checkpoint()
            saved = time.monotonic()
        progress = run.progress()
    if args.rank == 0:
        run.checkpoint()
        steady.save(os.path.join(args.out, "done.pt"), {"step": run.step})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", required=True, help="COCO JSON")
    parser.add_argument("--images", required=True, help="their folder")
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--complete", nargs="+", default=[], metavar="NAME", help="of these, those that "
                        "no picture shows without a box, whatever was looked for in it")
    parser.add_argument("--backbone", required=True, help="a SOFT classifier, safetensors")
    parser.add_argument("--init", metavar="FILE", help="a detector of the same sizes to go on from, "
                        "safetensors")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--random", action="store_true", help="the backbone begins untrained")
    parser.add_argument("--steps", type=int, default=10 ** 9)
    parser.add_argument("--finish-by", help="ISO time by which the schedule ends at the latest")
    parser.add_argument("--batch", type=int, default=4, help="a worker's, at the last side")
    parser.add_argument("--sides", type=steady.resolution, nargs="+", metavar="SIDE:UNTIL",
                        default=[(192, 0.35), (256, 0.8), (320, 1.0)])
    parser.add_argument("--zoom", type=float, nargs=2, default=[0.7, 1.8],
                        help="long side of a picture, in sides of the canvas")
    parser.add_argument("--longest", type=int, default=400, help="pictures are kept no larger")
    parser.add_argument("--image", type=int, nargs=2, default=[320, 320], help="as the program sees")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--tower", type=int, default=2)
    parser.add_argument("--anchor-scale", type=float, default=3)
    parser.add_argument("--box-weight", type=float, default=1.0)
    parser.add_argument("--jitter", type=float, default=0.2)
    parser.add_argument("--mosaic", type=float, default=0.0, help="share of pictures made of four")
    parser.add_argument("--more", metavar="DATA", help="folder of sharp/ and classify/: more "
                        "things for mosaics (detect_more.py)")
    parser.add_argument("--paste", type=float, default=0.0, help="chance that a thing cut out of "
                        "another photograph is laid over a picture, then that of another; wants --more")
    parser.add_argument("--balance", nargs="+", default=[], metavar="NAME", help="classes to be "
                        "shown more often where few pictures show them")
    parser.add_argument("--turn", action="store_true", help="by quarters: pictures without an up")
    parser.add_argument("--lr", type=float, default=2e-3, help="of AdamW")
    parser.add_argument("--muon-lr", type=float, default=2e-3)
    parser.add_argument("--constant", type=float, default=0.4, help="share of the run in which the "
                        "rates are constant; then they fall to zero")
    parser.add_argument("--backbone-rate", type=float, default=0.3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread")
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.paste and not args.more:
        parser.error("--paste: wants --more")
    return args


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    steady.with_workers(train, args)


if __name__ == "__main__":
    main()
