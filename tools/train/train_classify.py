# SPDX-License-Identifier: MIT
"""Trains a small SOFT-Norm classifier with one of three heads. Run again to resume (README.md)."""

import argparse
import os
import sys
import time

import blas

blas.settle(threads=1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import classify_data  # noqa: E402
import classify_common  # noqa: E402
import ebv_table  # noqa: E402
import muon  # noqa: E402
import soft  # noqa: E402
import soft_fast  # noqa: E402
import steady  # noqa: E402

NETWORK = {"dims": [32, 64, 128, 192], "heads": [1, 2, 4, 6], "depths": [1, 2, 3, 1],
           "classes": 100, "inverse": "norm", "ratios": [4, 2, 1], "kernels": [5, 5, 3],
           "stem": 16, "image": 64, "resize": 64}
FIELDS = ["time", "spent_s", "step", "progress", "side", "lr", "loss", "train_top1", "scale",
          "test_top1"]


def network(args):
    """The network of a head. The backbone starts from the same numbers whatever the head."""
    config = {**NETWORK, "head": args.head}
    if args.head != "linear":
        config.update(embedding=args.embedding, scale=1 / args.tau)
    torch.manual_seed(args.seed)
    model = soft.Soft(**{**config, "head": "none"})
    classify_common.initialise(model)
    backbone = model.state_dict()
    model = soft.Soft(**config)
    classify_common.initialise(model)
    model.load_state_dict(backbone, strict=False)
    if args.head == "ebv":
        table = ebv_table.generate(config["classes"], args.embedding, args.ebv_alpha, args.seed)
        model.directions.data.copy_(torch.from_numpy(table))
    if not args.plain:
        soft_fast.install(model)
    return model.to(memory_format=torch.channels_last)


class Optimiser:
    def __init__(self, model, scale, args):
        hidden, decayed, rest = [], [], [] if scale is None else [scale]
        for name, p in model.named_parameters():
            if args.optimizer == "muon" and classify_common.is_hidden(name, p):
                hidden.append(p)
            elif p.requires_grad:
                (decayed if p.ndim >= 2 and "directions" not in name else rest).append(p)
        self.args, self.rest = args, decayed + rest
        self.muon = muon.Muon(hidden, weight_decay=args.weight_decay, dtype=torch.float32)
        self.adam = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": args.weight_decay},
             {"params": rest, "weight_decay": 0.0}], betas=(0.9, 0.99))

    def step(self, factor):
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr * factor
        self.adam.step()
        if self.muon.groups:
            self.muon.step(self.args.muon_lr * factor)

    def state_dict(self):
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def order(count, batch, seed, step):
    """The pictures of a step: every epoch in an order of its own."""
    steps = count // batch
    epoch, i = divmod(step, steps)
    return np.random.default_rng([seed, epoch]).permutation(count)[i * batch:(i + 1) * batch]


class Run:
    """All that a run keeps: network, averaged weights, optimiser, step and time spent."""

    def __init__(self, args):
        self.args = args
        self.model = network(args)
        self.scale = None
        if args.scale == "learned":
            self.scale = torch.nn.Parameter(torch.tensor(1 / args.tau).log())
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = Optimiser(self.model, self.scale, args)
        self.step, self.spent, self.began = 0, 0.0, time.time()
        self.path = os.path.join(args.out, "checkpoint.pt")
        if os.path.exists(self.path):
            self.load(torch.load(self.path))
        elif args.init:
            self.begin_from(torch.load(args.init))

    def load(self, c):
        self.model.load_state_dict(c["model"])
        self.optimiser.load_state_dict(c["optimiser"])
        self.ema, self.step, self.spent, self.began = c["ema"], c["step"], c["spent"], c["began"]
        if self.scale is not None:
            self.scale.data.copy_(c["scale"])

    def begin_from(self, c):
        """Takes the averaged weights of another run, and nothing of its optimiser."""
        self.model.load_state_dict(c["ema"])
        self.ema = {k: v.clone() for k, v in c["ema"].items()}
        if self.scale is not None and c["scale"] is not None:
            self.scale.data.copy_(c["scale"])

    def checkpoint(self):
        steady.save(self.path, {
            "model": self.model.state_dict(), "ema": self.ema, "step": self.step,
            "optimiser": self.optimiser.state_dict(), "spent": self.spent, "began": self.began,
            "scale": None if self.scale is None else self.scale.data, "args": vars(self.args)})

    def progress(self):
        return steady.share_done(self.step, self.args, self.began)

    def advance(self, pictures, labels, progress):
        """One step; returns its row of numbers for the log."""
        args, began = self.args, time.monotonic()
        chosen = order(len(labels), args.batch, args.seed, self.step)
        rng = np.random.default_rng([args.seed, 1, self.step])
        side, factor = steady.side(args.sides, progress), steady.rate(progress, self.step)
        x = classify_data.augmented(pictures[chosen], rng, side, args.least_area, args.jitter)
        x, partner, own = classify_data.mixed(x, rng, args.cutmix, args.mixup)
        y = torch.from_numpy(labels[chosen])
        logits = self.model(x)["logits"]
        if self.scale is not None:
            logits = logits * (self.scale.exp() / self.model.config["scale"])
        loss = sum(share * F.cross_entropy(logits, label, label_smoothing=args.smoothing)
                   for share, label in ((own, y), (1 - own, y[partner])))
        self.model.zero_grad(set_to_none=True)
        if self.scale is not None:
            self.scale.grad = None
        loss.backward()
        if torch.isfinite(loss):
            self.optimiser.step(factor)
        steady.follow(self.ema, self.model, self.step, args.ema)
        self.step += 1
        self.spent += min(time.monotonic() - began, 10.0)       # a pause does not count
        scale = 0.0 if self.scale is None else self.scale.exp().item()
        hits = (logits.argmax(1) == y).float().mean().item()
        return [progress, side, args.lr * factor, loss.item(), hits, scale]


@torch.no_grad()
def top1(model, state, pictures, labels):
    """Of weights `state`, at the pictures' own size."""
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    model.eval()
    hits = 0
    for i in range(0, len(labels), 100):
        x = classify_data.normalised(pictures[i:i + 100])
        found = model(x.contiguous(memory_format=torch.channels_last))["logits"].argmax(1)
        hits += (found == torch.from_numpy(labels[i:i + 100])).sum().item()
    model.load_state_dict(own)
    model.train()
    return hits / len(labels)


def write_log(run, rows, value):
    mean = [f"{v:.5g}" for v in np.mean(rows, 0)]
    steady.log(run.args.out, FIELDS, f"{run.spent:.1f}", run.step, *mean, value)


def train(args):
    steady.prepare()
    run = Run(args)
    pictures, labels = classify_data.load(args.store, "base-train")
    test_set = classify_data.load(args.store, "base-val")
    if args.hold:
        (pictures, labels), test_set = classify_data.held_apart(pictures, labels, args.hold)
    saved, rows, progress = time.monotonic(), [], run.progress()
    while progress < 1 and run.step < args.stop_after:
        rows.append(run.advance(pictures, labels, progress))
        if run.step % 50 == 0:
            test = args.test_every and run.step % args.test_every == 0
            write_log(run, rows, f"{top1(run.model, run.ema, *test_set):.4f}" if test else "")
            rows = []
        if time.monotonic() - saved > 120:
            run.checkpoint()
            saved = time.monotonic()
        progress = run.progress()
    run.checkpoint()
    if progress >= 1:
        steady.save(os.path.join(args.out, "done.pt"), {"step": run.step})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, help="folder filled by classify_data.py")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--head", choices=["linear", "ebv", "hyperspherical"], required=True)
    parser.add_argument("--init", metavar="CHECKPOINT", help="of a finished run, to begin with")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--finish-by", help="ISO time by which the schedule ends at the latest")
    parser.add_argument("--stop-after", type=int, default=10 ** 9, help="pause here, in steps")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--sides", type=steady.resolution, nargs="+",
                        default=[(40, 0.4), (48, 0.7), (64, 1.0)], metavar="SIDE:UNTIL")
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--lr", type=float, default=3e-3, help="of AdamW")
    parser.add_argument("--muon-lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--least-area", type=float, default=0.35, help="of a random crop")
    parser.add_argument("--jitter", type=float, default=0.2)
    parser.add_argument("--cutmix", type=float, default=0, help="share of the steps with CutMix")
    parser.add_argument("--mixup", type=float, default=0, help="share of the steps with mixup")
    parser.add_argument("--embedding", type=int, default=64)
    parser.add_argument("--tau", type=float, default=0.07, help="at first, if it is learned")
    parser.add_argument("--scale", choices=["learned", "fixed"],
                        help="of the cosines, 1 / TAU at first; hyperspherical: learned, ebv: fixed")
    parser.add_argument("--ebv-alpha", type=float, default=0.085)
    parser.add_argument("--hold", type=int, default=0,
                        help="pictures of a class left out, and tested instead of base-val")
    parser.add_argument("--test-every", type=int, default=500, help="steps; for the log alone")
    parser.add_argument("--plain", action="store_true", help="PyTorch alone, without soft_fast")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.head == "linear" and args.scale:
        parser.error("--scale: a linear head has none")
    if not args.scale:
        args.scale = "learned" if args.head == "hyperspherical" else "fixed"
    return args


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
