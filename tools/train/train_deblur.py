# SPDX-License-Identifier: MIT
"""Trains a small LMD-ViT on synthetic local motion blur. Run again to resume; see README.md."""

import argparse
import os
import sys
import time

import blas

blas.settle(threads=1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import distributed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import deblur_pairs  # noqa: E402
import deblur_grow  # noqa: E402
import kernels  # noqa: E402
import lmd_vit  # noqa: E402
import muon  # noqa: E402
import steady  # noqa: E402
from deblur_common import PARTS, initialise, losses, outside_unit  # noqa: E402

HEADS, WIDTH = (1, 2, 4, 4, 2), 24      # of each layer where there are 24 channels; of a head
FIELDS = ["time", "spent_s", "step", "crops", "lr", "gated", *PARTS]


class Optimiser:
    def __init__(self, model, args):
        hidden, rest = [], []
        for name, p in model.named_parameters():
            use_muon = args.optimizer == "muon" and muon.is_hidden_matrix(name, p)
            (hidden if use_muon else rest).append(p)
        self.lr, self.muon_lr, self.rest = args.lr, args.muon_lr, rest
        share = args.rank, args.workers
        self.muon = muon.Muon(hidden, share=share, gather=distributed.all_reduce,
                              dtype=kernels.PRODUCTS)
        self.adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, factor):
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.lr * factor
        self.adam.step()
        self.muon.step(self.muon_lr * factor)

    def state_dict(self):
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def draw_batch(pairs, hard, rng, args):
    """Most batches are of small crops; larger ones show the predictors more of a picture.

    `rng` is shared by the workers for the size, each worker's own for the crops.
    """
    shared, own = rng
    side, count = ((128, 4), (192, 2), (256, 1))[int(shared.choice(3, p=args.crop_mix))]
    return deblur_pairs.batch(pairs, own, count, side, args.sharp_share, hard,
                              args.hard_share if hard else 0.0)


class Run:
    """All that a run keeps: network, averaged weights, optimiser, step and time spent."""

    def __init__(self, args):
        torch.manual_seed(args.seed)
        self.args = args
        self.model = lmd_vit.LmdVit(
            unshuffle=2, embed_dim=args.embed, heads=[n * args.embed // WIDTH for n in HEADS],
            depths=args.depths, threshold=args.threshold, fade=args.fade)
        initialise(self.model)
        kernels.install(self.model)
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = Optimiser(self.model, args)
        self.step, self.spent, self.crops = 0, 0.0, 0
        self.path = os.path.join(args.out, "checkpoint.pt")
        if os.path.exists(self.path):
            self.load(torch.load(self.path))
        elif args.init:
            deblur_grow.grow(self.model, lmd_vit.load_model(args.init))
            self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}

    def load(self, c):
        self.model.load_state_dict(c["model"])
        self.optimiser.load_state_dict(c["optimiser"])
        self.ema, self.step, self.spent, self.crops = c["ema"], c["step"], c["spent"], c["crops"]

    def checkpoint(self):
        steady.save(self.path, {"model": self.model.state_dict(), "ema": self.ema, "step": self.step,
                                "config": self.model.config,
                                "optimiser": self.optimiser.state_dict(), "spent": self.spent,
                                "crops": self.crops})

    def advance(self, pairs, hard):
        """One step; returns the row of numbers for the log."""
        args, began = self.args, time.monotonic()
        progress = min(self.spent / (60 * args.minutes), 1.0)
        shared = np.random.default_rng([args.seed, self.step])
        own = np.random.default_rng([args.seed, self.step, args.rank + 1])
        crops = draw_batch(pairs, hard, (shared, own), args)
        gated = progress >= args.gate_from
        factor = steady.rate(progress, self.step, args.fall_from)
        for p in self.model.parameters():
            p.grad = torch.zeros_like(p)
        loss, parts, _, _ = losses(self.model, torch.from_numpy(crops), gated,
                                   outside_unit(progress, args.lenient),
                                   (args.outside_weight, args.pruning_weight))
        loss.backward()
        if steady.average_gradients(self.model, args.workers):
            self.optimiser.step(factor)
        if args.rank == 0:
            steady.follow(self.ema, self.model, self.step, args.ema)
        self.step += 1
        self.crops += len(crops) * args.workers
        seconds = min(time.monotonic() - began, 10.0)       # a pause does not count
        self.spent += steady.first_worker_says(seconds, args.workers)
        return [args.lr * factor, int(gated), *parts.tolist()]


def train(args):
    steady.prepare()
    steady.join(args)
    run, pairs = Run(args), deblur_pairs.Pairs(args.pairs)
    hard = deblur_pairs.Pairs(args.hard) if args.hard else None
    saved, rows = time.monotonic(), []
    while run.spent < 60 * args.minutes and run.spent < 60 * args.stop_after:
        rows.append(run.advance(pairs, hard))
        if args.rank == 0 and run.step % 50 == 0:
            write_log(run, rows)
            rows = []
        if run.step % 200 == 0:
            pairs.refresh()
        if args.rank == 0 and time.monotonic() - saved > 120:
            run.checkpoint()
            saved = time.monotonic()
    if args.rank == 0:
        run.checkpoint()
        lmd_vit.save_model(run.model, os.path.join(args.out, "ema.safetensors"), state=run.ema)


def write_log(run, rows):
    mean = [f"{v:.5g}" for v in np.mean(rows, 0)]
    steady.log(run.args.out, FIELDS, f"{run.spent:.1f}", run.step, run.crops, *mean)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", required=True, help="folder filled by deblur_pairs.py")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--init", help="safetensors file whose weights to start from; it may have "
                                       "fewer blocks, or half the channels")
    parser.add_argument("--embed", type=int, default=WIDTH, help="channels, a multiple of 24")
    parser.add_argument("--depths", type=int, nargs=5, default=[1, 2, 2, 2, 1],
                        help="blocks of each layer")
    parser.add_argument("--minutes", type=float, default=100, help="running time, end to end")
    parser.add_argument("--stop-after", type=float, default=1e9, help="pause here, in minutes")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread")
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--lr", type=float, default=2e-3, help="of AdamW")
    parser.add_argument("--muon-lr", type=float, default=2e-3)
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--gate-from", type=float, default=0.45, help="share of the time")
    parser.add_argument("--fall-from", type=float, default=0.45,
                        help="share of the time from which on the rates fall")
    parser.add_argument("--lenient", type=float, default=0.125,
                        help="share of the time until change outside the blur is dear")
    parser.add_argument("--threshold", type=float, default=0.3, help="of keeping, when gated")
    parser.add_argument("--fade", type=float, nargs=2, metavar=("NOTHING", "ALL"),
                        help="least confidence of the predictors at which the change ends, and "
                             "from which on it is made in full")
    parser.add_argument("--sharp-share", type=float, default=0.1)
    parser.add_argument("--hard", help="folder filled by deblur_hard.py")
    parser.add_argument("--hard-share", type=float, default=0.2)
    parser.add_argument("--outside-weight", type=float, default=0.2)
    parser.add_argument("--pruning-weight", type=float, default=0.3)
    parser.add_argument("--crop-mix", type=float, nargs=3, default=[0.5, 0.3, 0.2],
                        help="shares of batches of 128, 192 and 256 pixels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    args.out = os.path.abspath(args.out)
    os.makedirs(args.out, exist_ok=True)
    steady.with_workers(train, args)


if __name__ == "__main__":
    main()
