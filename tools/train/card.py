# SPDX-License-Identifier: MIT
"""What the trainers on a graphics card share: options, a run by the clock, its optimisers, averaged
weights, log and checkpoint. Only the log and the checkpoint wait for the device."""

import argparse
import collections
import copy
import math
import os
import time

import torch
from torch import distributed

import muon
import steady

LARGEST = 15 * 2 ** 20      # bytes of a checkpoint in f32; a larger one has matrices in f16
WARM = 0.02                 # share of the run in which the rates rise
AHEAD = 2                   # steps that the host may be before the device
SMOKE = 9                   # steps
FIELDS = ["time", "elapsed_s", "step", "samples", "samples_per_s", "factor", "dropped", "loss"]
COMPILE = "the widest element-wise pass by torch.compile; ends if that does not agree"


def parser(doc, **defaults):
    """Of the options that all of them have."""
    made = argparse.ArgumentParser(description=doc)
    add = made.add_argument
    add("--pack", required=True, help="the only file that is read for training")
    add("--out", required=True, help="folder of checkpoint.pt and log.csv")
    add("--device", default="cuda")
    add("--seconds", type=float, default=400, help="from the first step to the last")
    add("--steps", type=float, default=math.inf, help="end after so many, if that is earlier")
    add("--smoke", action="store_true", help=f"{SMOKE} steps with everything on, each in the log")
    add("--batch", type=int)
    add("--lr", type=float, help="of AdamW")
    add("--muon-lr", type=float)
    add("--weight-decay", type=float, help="of matrices")
    add("--fall-from", type=float, help="share of the run from which on the rates fall")
    add("--average", type=float, help="share of the run's steps that weights are averaged over")
    add("--f32", action="store_true", help="no products in bf16")
    add("--threads", type=int, default=os.cpu_count(), help="that decode the pack")
    add("--log-every", type=float, default=10, help="seconds")
    add("--save-every", type=float, default=60, help="seconds")
    add("--seed", type=int, default=1)
    made.set_defaults(workers=1, rank=0, **defaults)
    return made


def parsed(made, argv=None):
    args = made.parse_args(argv)
    if args.smoke:
        args.seconds, args.save_every = math.inf, math.inf
        args.steps, args.log_every = SMOKE, 0
    return args


def settle(seed):
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = True
    # What is in f32 is so because it must be; products in f32 are exact by default.
    torch.backends.cudnn.allow_tf32 = False


def products(args):
    """Their type."""
    return torch.float32 if args.f32 else torch.bfloat16


def uniform(low, high, shape, device):
    return torch.rand(shape, device=device) * (high - low) + low


def chance(share, shape, device):
    return torch.rand(shape, device=device) < share


def rate(progress, fall_from):
    """Rises at first, stays, and from that share of the run on falls straight to zero."""
    return min(1.0, progress / WARM + 0.01) * min(1.0, (1 - progress) / (1 - fall_from))


def compiled(function, *inputs):
    """The function compiled, once it has been seen to give tensors that agree with its own."""
    quick = torch.compile(function, dynamic=True)
    for ours, its in zip(quick(*inputs), function(*inputs)):
        torch.testing.assert_close(ours.float(), its.float(), rtol=0.02, atol=1e-3)
    return quick


class Optimiser:
    """Muon for matrices between hidden features, AdamW for the rest: both take lists of (parameters,
    rate, weight decay). Gradients lie end to end, so that one launch clears them, and one drops what
    is not finite: nobody looks before the log does."""

    def __init__(self, hidden, rest, clip, args):
        self.workers = args.workers
        params = [p for part, *_ in rest + hidden for p in part]
        self.flat, start = torch.zeros(sum(p.numel() for p in params), device=params[0].device), 0
        for p in params:
            p.grad = self.flat[start:start + p.numel()].view_as(p)
            start += p.numel()
        self.clip, self.clipped = clip, self.flat[:sum(p.numel() for part, *_ in rest for p in part)]
        self.muons = [(muon.Muon(part, weight_decay=decay, dtype=products(args),
                                 share=(args.rank, args.workers), gather=distributed.all_reduce), lr)
                      for part, lr, decay in hidden]
        fused = {"fused": True} if self.flat.is_cuda else {}
        self.adam = torch.optim.AdamW([{"params": part, "rate": lr, "weight_decay": decay}
                                       for part, lr, decay in rest], betas=(0.9, 0.99), **fused)

    @torch.no_grad()
    def step(self, factor):
        """Returns the norm of AdamW's part of the gradient, on the device."""
        self.flat.nan_to_num_(0.0, 0.0, 0.0)
        steady.mean_of_workers(self.flat, self.workers)
        norm = self.clipped.norm()
        self.clipped.mul_((self.clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * factor
        self.adam.step()
        for m, lr in self.muons:
            m.step(lr * factor)
        self.flat.zero_()
        return norm


class Average:
    """A copy of a model whose weights follow the model's, over a share of the run's steps."""

    def __init__(self, model, share):
        self.model, self.share = copy.deepcopy(model).eval().requires_grad_(False), share
        self.pairs = [[t for t in m.state_dict().values() if t.is_floating_point()]
                      for m in (self.model, model)]

    @torch.no_grad()
    def follow(self, step, progress):
        expected = (step + 1) / max(progress, 1e-3)
        part = 1 / max(1.0, min((step + 10) / 9, self.share * expected))
        own, new = self.pairs
        torch._foreach_mul_(own, 1 - part)
        torch._foreach_add_(own, new, alpha=part)


class Means:
    """Of numbers of the steps since the last look, summed up on the device. A step whose loss, the
    first of them, is not finite is left out and counted."""

    def __init__(self):
        self.count, self.sums = 0, 0.0

    @torch.no_grad()
    def add(self, values):
        values = torch.stack([v.detach().float() for v in values])
        fine = torch.isfinite(values[:1])
        values = torch.where(fine, values, torch.zeros_like(values))
        self.sums = self.sums + torch.cat([fine.float(), values])
        self.count += 1

    def taken(self):
        """(steps left out, the means)"""
        fine, *sums = self.sums.tolist()
        dropped, self.count, self.sums = self.count - int(fine), 0, 0.0
        if dropped > fine:
            raise FloatingPointError(f"the loss of {dropped} of {dropped + int(fine)} steps is not finite")
        return dropped, [s / max(fine, 1.0) for s in sums]


class Run:
    """A run by the clock. Who trains has `model`, `optimiser` and `average`, and says

    losses(progress)    of a step: (loss, further numbers of `fields`, samples), on the device
    watch()             numbers of `watched`, of the averaged weights
    content()           of the checkpoint: "ema", weights as they are shipped, and what goes with them
    """

    fields, watched = [], []

    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        self.step, self.samples, self.means = 0, 0, Means()
        self.began, self.ahead = time.monotonic(), collections.deque()
        os.makedirs(args.out, exist_ok=True)
        if self.device.type == "cpu":
            steady.prepare()
            steady.join(args)
        if args.rank == 0 and os.path.exists(os.path.join(args.out, "log.csv")):
            os.remove(os.path.join(args.out, "log.csv"))
        settle(args.seed)

    def watch(self):
        return []

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=not self.args.f32)

    def say(self, text):
        if self.args.rank == 0:
            print(text, flush=True)

    def ready(self, text):
        """The weights are the same everywhere; what is drawn from here on is each worker's own."""
        torch.manual_seed(self.args.seed + 1000 * self.args.rank)
        count = sum(p.numel() for p in self.model.parameters())
        self.say(f"{text}, {count / 1e6:.2f} M parameters; ready after "
                 f"{time.monotonic() - self.began:.1f} s")

    def progress(self):
        done = max((time.monotonic() - self.began) / self.args.seconds, self.step / self.args.steps)
        return steady.first_worker_says(done, self.args.workers)

    def advance(self, progress, factor):
        loss, values, count = self.losses(progress)
        loss.backward()
        norm = self.optimiser.step(factor)
        self.average.follow(self.step, progress)
        self.means.add([loss, *values, norm])
        self.step, self.samples = self.step + 1, self.samples + count * self.args.workers
        if self.device.type == "cuda":      # so that the clock tells of what is done
            self.ahead.append(torch.cuda.Event())
            self.ahead[-1].record()
            if len(self.ahead) > AHEAD:
                self.ahead.popleft().synchronize()

    def log(self, factor, watched=()):
        """A line in log.csv and on standard output, of the steps since the last one."""
        dropped, means = self.means.taken()
        now, (then, samples) = time.monotonic(), self.logged
        pace = (self.samples - samples) / max(now - then, 1e-9)
        row = [f"{now - self.began:.1f}", self.step, self.samples, f"{pace:.1f}", f"{factor:.4f}",
               dropped, *(f"{v:.5g}" for v in [*means, *watched])]
        fields = [*FIELDS, *self.fields, "norm", *self.watched]
        steady.log(self.args.out, fields, *row, *[""] * (len(fields) - 1 - len(row)))
        self.say("  ".join(f"{k} {v}" for k, v in zip(fields[1:], row)))
        self.logged = now, self.samples

    def checkpoint(self):
        content = self.content()
        state = {k: v.detach().cpu().contiguous() for k, v in content["ema"].items()}
        if sum(v.numel() * v.element_size() for v in state.values()) > LARGEST:
            state = {k: v.half() if v.ndim > 1 and k != "directions" else v for k, v in state.items()}
        path = os.path.join(self.args.out, "checkpoint.pt")
        steady.save(path, {**content, "ema": state, "step": self.step, "args": vars(self.args)})
        return os.path.getsize(path)

    def train(self):
        """Steps until the time is over, and at last a checkpoint."""
        args = self.args
        self.began = saved = time.monotonic()
        self.logged, progress = (self.began, 0), 0.0
        while progress < 1:
            factor = rate(progress, args.fall_from)
            self.advance(progress, factor)
            now, progress = time.monotonic(), self.progress()
            if args.rank > 0:
                continue
            if progress >= 1 or now - saved > args.save_every:
                size = self.checkpoint()
                self.log(factor, self.watch())
                saved = now
            elif self.step == 1 or now - self.logged[0] > args.log_every:
                self.log(factor)
        if self.device.type == "cuda":
            self.say(f"memory: {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB at most")
        if args.rank == 0:
            self.say(f"done: {self.step} steps, {self.samples} samples, checkpoint of {size} bytes")
