#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains an LMD-ViT against local motion blur on a graphics card: all data lives there, pictures are
blurred there, and the schedule goes by the clock. What it writes is read as train_deblur.py's."""

import argparse
import concurrent.futures
import csv
import os
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import deblur_synth_card  # noqa: E402
import deblur_net_card  # noqa: E402
import deblur_common  # noqa: E402
import deblur_store_card  # noqa: E402
import lmd_vit  # noqa: E402
import muon  # noqa: E402

SIDES = (128, 192, 256)
PARTS = ["loss", "inside", "outside", "pruning", "gain_db", "outside_db"]
WINDOWS = ["recall", "kept", "recall_half", "kept_half", "blurred"]
FIELDS = ["elapsed_s", "step", "crops", "crops_per_s", "rate", "gated", *PARTS, *WINDOWS]
LARGEST = 15 * 2 ** 20      # bytes of a file that is written


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


class StackedMuon:
    """muon.Muon for one process on a card: each shape of matrix is one stack, in few launches."""

    def __init__(self, params, dtype, momentum=0.95, weight_decay=0.01):
        self.groups = {}
        for p in params:
            self.groups.setdefault((p.shape[0], p.numel() // p.shape[0]), []).append(p)
        self.dtype, self.momentum, self.weight_decay = dtype, momentum, weight_decay
        self.means = {k: torch.zeros(len(g), *k, device=g[0].device)
                      for k, g in self.groups.items()}

    @torch.no_grad()
    def step(self, lr):
        for key, group in self.groups.items():
            grad = torch.stack([p.grad.reshape(key) for p in group])
            mean = self.means[key].mul_(self.momentum).add_(grad, alpha=1 - self.momentum)
            update = muon.orthogonalised(torch.lerp(grad, mean, self.momentum), dtype=self.dtype)
            update = update * (0.2 * max(key) ** 0.5)
            torch._foreach_mul_(group, 1 - lr * self.weight_decay)
            torch._foreach_add_(group, [u.view_as(p) for u, p in zip(update.unbind(0), group)],
                                alpha=-lr)


class Optimiser:
    def __init__(self, model, args, device):
        hidden, self.rest = [], []
        for name, p in model.named_parameters():
            (hidden if muon.is_hidden_matrix(name, p) else self.rest).append(p)
        self.args = args
        self.muon = StackedMuon(hidden, torch.bfloat16 if device.type == "cuda" else torch.float32)
        fused = {"fused": True} if device.type == "cuda" else {}
        self.adam = torch.optim.AdamW(self.rest, betas=(0.9, 0.99), weight_decay=0.01, **fused)
        # gradients end to end, so that one launch clears them and one drops what is not finite
        params = list(model.parameters())
        self.flat, start = torch.zeros(sum(p.numel() for p in params), device=device), 0
        for p in params:
            p.grad = self.flat[start:start + p.numel()].view_as(p)
            start += p.numel()

    def step(self, factor):
        self.flat.nan_to_num_(0.0, 0.0, 0.0)
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr * factor
        self.adam.step()
        self.muon.step(self.args.muon_lr * factor)
        self.flat.zero_()


def window_loss(model, scores, mask, detailed):
    """Cross-entropy of every predictor, averaged; with `detailed` also WINDOWS, averaged."""
    level, labels, total, rows = deblur_common.levels(model), {}, 0.0, []
    threshold = model.config["threshold"]
    bounds = (float(np.log(threshold / (1 - threshold))), 0.0)
    for key, z in scores.items():
        layer, i = key.split(".")
        block = getattr(model, layer).blocks[int(i)]
        kind = level[layer], block.shift
        if kind not in labels:
            labels[kind] = deblur_common.window_labels(mask, block, level[layer],
                                                       model.config["unshuffle"])
        label, margin = labels[kind], z[..., 0] - z[..., 1]
        total = total + F.binary_cross_entropy_with_logits(margin, label)
        if detailed:
            row = []
            for bound in bounds:
                keep = (margin.detach() > bound).float()
                row += [(keep * label).sum() / label.sum().clamp(min=1), keep.mean()]
            rows.append(torch.stack([*row, label.mean()]))
    return total / len(scores), torch.stack(rows).mean(0) if detailed else None


def losses(model, crops, gated, unit, weights, detailed):
    """(loss, PARTS, WINDOWS or None, square outside and area of each crop), all on the device; the
    loss is train_deblur's: decibels inside, what is changed outside, cross-entropy."""
    crops = crops.permute(0, 2, 3, 1)
    x, y = (crops[..., k:k + 3].float() / 255 for k in (0, 3))
    m = (crops[..., 6:] > 127).float()
    out, scores = model(x, gated)
    area = m.mean((1, 2, 3))

    def mean_square(d, weight):
        return (d.square().mean(-1, keepdim=True) * weight).sum((1, 2, 3)) \
            / weight.sum((1, 2, 3)).clamp(min=1)

    inside, before = mean_square(out - y, m), mean_square(x - y, m)
    outside = mean_square(out - x, 1 - m)
    w_in, w_out = (area / 0.03).clamp(max=1), ((1 - area) / 0.03).clamp(max=1)
    in_loss = (w_in * torch.log((inside + 1e-5) / (before + 1e-5))).mean()
    out_loss = (w_out * torch.log1p(outside / unit).square()).mean()    # the worst crops count
    prune, windows = window_loss(model, scores, m[..., 0], detailed)
    loss = in_loss + weights[0] * out_loss + weights[1] * prune
    with torch.no_grad():
        some, rest = (area > 0.02).float(), (area < 0.98).float()
        gain = 10 * (torch.log10((before + 1e-12) / (inside + 1e-12)) * some).sum() \
            / some.sum().clamp(min=1)
        quiet = -10 * (torch.log10(outside + 1e-8) * rest).sum() / rest.sum().clamp(min=1)
        parts = torch.stack([loss, in_loss, out_loss, prune, gain, quiet])
    return loss, parts, windows, outside.detach(), area


def rate(progress, args):
    """Rises for a fiftieth of the time, stays, falls to nothing."""
    return min(1.0, (progress + 1e-4) / 0.02) * min(1.0, (1 - progress) / (1 - args.fall_from))


def between(ends, progress):
    return ends[0] + (ends[-1] - ends[0]) * progress


class Run:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        torch.manual_seed(args.seed)
        if self.device.type == "cuda":
            # products of f32 are small and exact: the cosines of JPEG, the predictors' last layers
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
        began = time.monotonic()
        store = deblur_store_card.Store(args.pack, args.cores)
        self.say(f"{len(store.photos)} photographs, {len(store.objects)} objects decoded in "
                 f"{time.monotonic() - began:.1f} s, {store.pixels.nbytes / 2 ** 30:.2f} GiB")
        self.synthesis = deblur_synth_card.Synthesis(store, self.device)
        store.pixels = None
        self.supply, self.hard = Supply(store, self.synthesis, args), Hard(args, self.device)
        self.model = self.network()
        self.ema = [p.detach().clone() for p in self.model.parameters()]
        self.optimiser = Optimiser(self.model, args, self.device)
        self.rng = np.random.default_rng(args.seed)
        self.step, self.crops, self.began = 0, 0, time.monotonic()
        self.forget()
        self.log_file = open(os.path.join(args.out, "log.csv"), "w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.log_file)
        self.writer.writerow(FIELDS)

    def say(self, text):
        print(text, flush=True)

    def network(self):
        args = self.args
        dtype = torch.bfloat16 if args.bf16 or self.device.type == "cuda" else None
        stream = torch.float32 if args.stream_f32 else torch.bfloat16
        model = deblur_net_card.CardVit(dtype, stream, unshuffle=2, embed_dim=args.embed,
                                        depths=args.depths, heads=args.heads,
                                        threshold=args.threshold, fade=None)
        deblur_common.initialise(model)
        if args.init:
            deblur_common.grow(model, lmd_vit.load_model(args.init))
        model.to(self.device)
        count = sum(p.numel() for p in model.parameters())
        taken = model.choose_kernels(self.device, args.compile)
        self.say(f"{count / 1e6:.2f} M parameters; fast: {', '.join(taken) or 'nothing'}")
        return model

    def progress(self):
        if self.args.smoke:
            return min(self.step / 6, 1.0)
        return min((time.monotonic() - self.began) / self.args.seconds, 1.0)

    def side(self, progress):
        if self.args.smoke:
            return SIDES[self.step % len(SIDES)]
        start, end = np.array(self.args.crop_mix), np.array(self.args.crop_mix_end)
        mix = between((start / start.sum(), end / end.sum()), progress)
        return SIDES[int(self.rng.choice(len(SIDES), p=mix / mix.sum()))]

    def advance(self, progress):
        args = self.args
        gated, factor = progress >= args.gate_from, rate(progress, args)
        self.model.config["fade"] = args.fade if gated else None
        crops = self.hard.mix(self.supply.next(self.side(progress)))
        weights = args.outside_weight, between(args.pruning_weight, progress)
        unit = deblur_common.outside_unit(progress, args.lenient)
        detailed = self.step % 10 == 0
        loss, parts, windows, outside, area = losses(self.model, crops, gated, unit, weights,
                                                     detailed)
        loss.backward()
        self.optimiser.step(factor)
        self.hard.keep(crops, outside, area)
        self.follow(progress)
        self.step, self.crops = self.step + 1, self.crops + len(crops)
        self.parts += parts
        self.counted += 1
        if detailed:
            self.windows += windows
            self.detailed += 1
        return factor, gated

    @torch.no_grad()
    def follow(self, progress):
        """Averaged weights; they look back over a fixed share of the steps that the run will have."""
        horizon = max(self.args.ema_share * (self.step + 1) / max(progress, 1e-3), 1.0)
        decay = min(1 - 1 / horizon, (1 + self.step) / (10 + self.step))
        torch._foreach_mul_(self.ema, decay)
        torch._foreach_add_(self.ema, list(self.model.parameters()), alpha=1 - decay)

    def forget(self):
        self.parts = torch.zeros(len(PARTS), device=self.device)
        self.windows = torch.zeros(len(WINDOWS), device=self.device)
        self.counted = self.detailed = 0
        self.logged = time.monotonic(), self.crops

    def log(self, factor, gated):
        now, (then, crops) = time.monotonic(), self.logged
        values = (self.parts / max(self.counted, 1)).tolist() \
            + (self.windows / max(self.detailed, 1)).tolist()       # waits for the card
        row = [f"{now - self.began:.1f}", self.step, self.crops,
               f"{(self.crops - crops) / (time.monotonic() - then):.0f}", f"{factor:.3f}",
               int(gated), *(f"{v:.4g}" for v in values)]
        self.writer.writerow(row)
        self.log_file.flush()
        self.say(" ".join(f"{k} {v}" for k, v in zip(FIELDS, row)))
        if not np.isfinite(values[0]):
            self.say("the loss was not finite in some of these steps; they changed nothing")
        self.forget()

    def memory(self):
        if self.device.type == "cuda":
            self.say(f"memory of the card: {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB")

    def states(self):
        """(the weights, averaged weights) on the CPU."""
        names = [name for name, _ in self.model.named_parameters()]
        def copy(tensors):
            return {n: t.detach().float().cpu().clone() for n, t in zip(names, tensors)}
        return copy(self.model.parameters()), copy(self.ema)

    def checkpoint(self):
        """What calibrate_deblur.py reads. The averaged weights matter: they come with the others if
        both fit into a file that the card's machine gives back, else alone, else in f16."""
        raw, ema = self.states()
        size = sum(t.numel() * 4 for t in ema.values())
        content = {"config": {**self.model.config, "fade": self.args.fade}, "step": self.step,
                   "crops": self.crops, "spent": time.monotonic() - self.began}
        if 2 * size <= LARGEST:
            content["model"] = raw
        elif size > LARGEST:
            ema = {k: v.half() if v.ndim > 1 else v for k, v in ema.items()}
        content["ema"] = ema
        path = os.path.join(self.args.out, "checkpoint.pt")
        torch.save(content, path + ".part")
        os.replace(path + ".part", path)

    def train(self):
        saved = time.monotonic()
        while True:
            progress = self.progress()
            if progress >= 1 or (self.args.smoke and self.step == 6):
                break
            factor, gated = self.advance(progress)
            if self.args.smoke or time.monotonic() - self.logged[0] > self.args.log_every:
                self.log(factor, gated)
            if self.step == 50 or self.args.smoke:
                self.memory()
            if time.monotonic() - saved > 60:
                self.checkpoint()
                saved = time.monotonic()
        if self.counted:
            self.log(0.0, gated)
        self.checkpoint()
        self.memory()
        self.say(f"{self.step} steps, {self.crops} crops, {time.monotonic() - self.began:.1f} s")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True, help="file of deblur_pack.py")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=400, help="of training, data loaded")
    parser.add_argument("--cores", type=int, help="threads that decode; all cores if not given")
    parser.add_argument("--smoke", action="store_true", help="six steps with everything on")
    parser.add_argument("--compile", action="store_true", help="try torch.compile")
    parser.add_argument("--bf16", action="store_true", help="products in bf16 on a CPU, too")
    parser.add_argument("--stream-f32", action="store_true",
                        help="keep what goes from block to block in f32; a third more time")
    parser.add_argument("--embed", type=int, default=24)
    parser.add_argument("--depths", type=int, nargs=5, default=[1, 2, 4, 2, 2])
    parser.add_argument("--heads", type=int, nargs=5, default=[1, 2, 4, 4, 2])
    parser.add_argument("--init", help="safetensors file to go on from, see train_deblur.py")
    parser.add_argument("--batch", type=int, default=144,
                        help="crops of 128 pixels; fewer of the larger ones. Best a multiple of 36")
    parser.add_argument("--pool", type=int, default=4, help="batches that are made at once")
    parser.add_argument("--reuse", type=int, default=2, help="times that a crop is shown")
    parser.add_argument("--lr", type=float, default=2e-3, help="of AdamW")
    parser.add_argument("--muon-lr", type=float, default=2e-3)
    parser.add_argument("--fall-from", type=float, default=0.3,
                        help="share of the time from which on the rates fall")
    parser.add_argument("--ema-share", type=float, default=0.02,
                        help="of the steps over which weights are averaged")
    parser.add_argument("--gate-from", type=float, default=0.45,
                        help="share of the time from which on predictors decide")
    parser.add_argument("--lenient", type=float, default=0.125,
                        help="share of the time until change outside the blur is dear")
    parser.add_argument("--threshold", type=float, default=0.3, help="of keeping, when gated")
    parser.add_argument("--fade", type=float, nargs=2, default=[0.1, 0.7],
                        help="when gated, see train_deblur.py")
    parser.add_argument("--sharp-share", type=float, default=0.1)
    parser.add_argument("--hard-share", type=float, default=0.06,
                        help="of the smallest crops, those changed most without a reason")
    parser.add_argument("--hard-kept", type=int, default=512)
    parser.add_argument("--outside-weight", type=float, default=0.2)
    parser.add_argument("--pruning-weight", type=float, nargs=2, default=[0.3, 0.6],
                        help="at the start and at the end")
    parser.add_argument("--crop-mix", type=float, nargs=3, default=[0.7, 0.2, 0.1],
                        help="shares of batches of 128, 192 and 256 pixels at the start")
    parser.add_argument("--crop-mix-end", type=float, nargs=3, default=[0.3, 0.2, 0.5])
    parser.add_argument("--log-every", type=float, default=10, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    Run(args).train()


if __name__ == "__main__":
    main()
