# SPDX-License-Identifier: MIT
"""Trains an LMD-ViT against local motion blur on a graphics card: all data lives there, pictures are
blurred there, and the schedule goes by the clock. What it writes is read as train_deblur.py's."""

import concurrent.futures
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import card  # noqa: E402
import deblur_common  # noqa: E402
import deblur_grow  # noqa: E402
import deblur_net_card  # noqa: E402
import deblur_store_card  # noqa: E402
import deblur_synth_card  # noqa: E402
import lmd_vit  # noqa: E402
import muon  # noqa: E402

SIDES = (128, 192, 256)


class Supply:
    """Batches of crops. A pool of some batches of one size is made at once, since a card wants large
    portions, and each crop is shown `reuse` times, turned or coloured another way."""

    def __init__(self, store, synthesis, args):
        self.store, self.synthesis, self.args = store, synthesis, args
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.made, self.queue = 0, {s: [] for s in SIDES}
        self.plans = {s: self.draw(s) for s in SIDES}

    def batch_size(self, side):
        """As many pixels in each batch, so that a block meets one number of windows only."""
        return max(self.args.batch * SIDES[0] ** 2 // side ** 2, 1)

    def draw(self, side):
        """The next plan, drawn by another thread meanwhile."""
        self.made += 1
        rng = np.random.default_rng([self.args.seed, self.made])
        count = self.batch_size(side) * self.args.pool
        return self.thread.submit(deblur_store_card.Plan, self.store, rng, count, side,
                                  self.args.sharp_share)

    def refill(self, side):
        plan = self.plans[side].result()
        self.plans[side] = self.draw(side)
        pool, size = self.synthesis.crops(plan), self.batch_size(side)
        order = np.concatenate([plan.rng.permutation(plan.count) for _ in range(self.args.reuse)])
        order = self.synthesis.send(order, np.int64)
        self.queue[side] = [(pool, order[i:i + size]) for i in range(0, len(order), size)]

    def next(self, side):
        if not self.queue[side]:
            self.refill(side)
        pool, which = self.queue[side].pop()
        return deblur_synth_card.augmented(pool[which])


class Hard:
    """The crops without blur that were changed most of late: places of photographs that the network
    takes for blur. They are shown again; the oldest make room."""

    def __init__(self, args, device):
        side = SIDES[0]
        self.ring = torch.zeros(args.hard_kept, 7, side, side, dtype=torch.uint8, device=device)
        self.seen, self.share, self.used = 0, args.hard_share, 0

    def mix(self, crops):
        """Replaces the first of a batch; `used` says how many."""
        self.used = 0
        if crops.shape[-1] == SIDES[0] and self.seen >= len(self.ring):
            self.used = int(self.share * len(crops))
            which = torch.randint(len(self.ring), (self.used,), device=crops.device)
            crops[:self.used] = deblur_synth_card.augmented(self.ring[which])
        return crops

    def keep(self, crops, outside, area, count=2):
        if crops.shape[-1] != SIDES[0] or len(crops) < self.used + count or not len(self.ring):
            return
        harm = torch.where(area == 0, outside, torch.zeros_like(outside))[self.used:]
        worst = harm.topk(count)[1] + self.used
        first = self.seen % (len(self.ring) // count * count)
        self.ring[first:first + count] = crops[worst]
        self.seen += count


def network(args, dtype, device):
    model = deblur_net_card.CardVit(dtype, unshuffle=2, embed_dim=args.embed, depths=args.depths,
                                    heads=args.heads, threshold=args.threshold, fade=None)
    deblur_common.initialise(model)
    if args.init:
        deblur_grow.grow(model, lmd_vit.load_model(args.init))
    if args.compile:
        inputs = torch.randn(96, 384, device=device), torch.randn(96, 1, device=device)
        quick = card.compiled(lambda *i: [deblur_net_card.bias_gelu(*i)], *(i.to(dtype) for i in inputs))
        model.bias_gelu = lambda *i: quick(*i)[0]
    return model.to(device)


def optimiser(model, args):
    hidden, rest = [], []
    for name, p in model.named_parameters():
        (hidden if muon.is_hidden_matrix(name, p) else rest).append(p)
    return card.Optimiser([(hidden, args.muon_lr, args.weight_decay)], [(rest, args.lr, 0.01)], 1.0,
                          args)


def between(ends, progress):
    return ends[0] + (ends[-1] - ends[0]) * progress


class Run(card.Run):
    fields = [*deblur_common.PARTS[1:], "gated"]

    def __init__(self, args):
        super().__init__(args)
        if self.device.type == "cuda":
            deblur_net_card.settle()
        store = deblur_store_card.Store(args.pack, args.threads)
        self.synthesis = deblur_synth_card.Synthesis(store, self.device)
        store.pixels = None
        self.supply, self.hard = Supply(store, self.synthesis, args), Hard(args, self.device)
        self.model = network(args, card.products(args), self.device)
        self.average = card.Average(self.model, args.average)
        self.optimiser = optimiser(self.model, args)
        self.rng = np.random.default_rng(args.seed)
        self.ready(f"{len(store.photos)} photographs, {len(store.objects)} objects")

    def side(self, progress):
        if self.args.smoke:
            return SIDES[self.step % len(SIDES)]
        start, end = np.array(self.args.crop_mix), np.array(self.args.crop_mix_end)
        mix = between((start / start.sum(), end / end.sum()), progress)
        return SIDES[int(self.rng.choice(len(SIDES), p=mix / mix.sum()))]

    def losses(self, progress):
        args = self.args
        gated = progress >= args.gate_from
        self.model.config["fade"] = args.fade if gated else None
        crops = self.hard.mix(self.supply.next(self.side(progress)))
        weights = args.outside_weight, between(args.pruning_weight, progress)
        unit = deblur_common.outside_unit(progress, args.lenient)
        loss, parts, outside, area = deblur_common.losses(self.model, crops.permute(0, 2, 3, 1),
                                                          gated, unit, weights)
        self.hard.keep(crops, outside, area)
        return loss, [*parts[1:], torch.full_like(loss, float(gated))], len(crops)

    def content(self):
        return {"ema": self.average.model.state_dict(),
                "config": {**self.model.config, "fade": self.args.fade}}


def arguments(argv=None):
    parser = card.parser(__doc__, batch=144, lr=2e-3, muon_lr=2e-3, weight_decay=0.01, fall_from=0.3,
                         average=0.02)
    add = parser.add_argument
    add("--init", help="safetensors file to go on from; it may have fewer blocks")
    add("--compile", action="store_true", help=card.COMPILE)
    add("--embed", type=int, default=24)
    add("--depths", type=int, nargs=5, default=[1, 2, 4, 2, 2])
    add("--heads", type=int, nargs=5, default=[1, 2, 4, 4, 2])
    add("--pool", type=int, default=4, help="batches that are made at once")
    add("--reuse", type=int, default=2, help="times that a crop is shown")
    add("--gate-from", type=float, default=0.45, help="share of the run")
    add("--lenient", type=float, default=0.125,
        help="share of the run until change outside the blur is dear")
    add("--threshold", type=float, default=0.25, help="of keeping, when gated")
    add("--fade", type=float, nargs=2, default=[0.25, 0.8], metavar=("NOTHING", "ALL"),
        help="when gated, see train_deblur.py")
    add("--sharp-share", type=float, default=0.1)
    add("--hard-share", type=float, default=0.06,
        help="of the smallest crops, those changed most without a reason")
    add("--hard-kept", type=int, default=512)
    add("--outside-weight", type=float, default=0.2)
    add("--pruning-weight", type=float, nargs=2, default=[0.3, 0.6], help="at the start and at the end")
    add("--crop-mix", type=float, nargs=3, default=[0.7, 0.2, 0.1],
        help="shares of batches of 128, 192 and 256 pixels at the start")
    add("--crop-mix-end", type=float, nargs=3, default=[0.3, 0.2, 0.5])
    args = card.parsed(parser, argv)
    if args.smoke:
        args.hard_kept, args.hard_share = 2, 0.5    # seen before the run is over
    return args


if __name__ == "__main__":
    Run(arguments()).train()
