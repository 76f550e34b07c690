# SPDX-License-Identifier: MIT
"""Trains a SOFT-Norm classifier on a graphics card, by the clock (README.md).

Pictures lie on the device; batches are made there. Turned pictures are classes of their own, and so
may be objects of other pictures: what the network learns by them stays, their directions go.
"""

import argparse
import csv
import os
import sys
import time

import blas

blas.settle()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.nn import functional as F  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "eval")]
import classify_data_card  # noqa: E402
import classify_pack  # noqa: E402
import classify_common  # noqa: E402
import features  # noqa: E402
import muon  # noqa: E402
import soft  # noqa: E402
import soft_card  # noqa: E402

FIELDS = ["elapsed_s", "step", "samples", "samples_per_s", "progress", "lr", "loss", "train_top1",
          "gradient", "scale", "watch_top1", "watch_loss"]


def configuration(args, classes):
    return {"dims": args.dims, "heads": [c // 32 for c in args.dims], "depths": args.depths,
            "classes": classes, "inverse": "norm", "ratios": args.ratios, "kernels": args.kernels,
            "stem": args.stem, "image": args.image, "resize": args.image * 9 // 8,
            "head": "hyperspherical", "embedding": args.embedding, "scale": args.scale}


class Pictures:
    """All of a pack, on the device. Watched pictures are as in use: resized, the centre cut out."""

    def __init__(self, args, device):
        pack = classify_pack.unpack(args.pack, args.workers)
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
        more = kinds * (4 if args.rotations else 1) - base
        self.more = torch.nn.Parameter(F.normalize(torch.randn(more, args.embedding)))
        self.log_scale = torch.nn.Parameter(torch.tensor(float(args.scale)).log())

    def forward(self, x, dtype):
        """Logits of all classes, those of `net` first; f32."""
        directions = F.normalize(torch.cat([self.net.directions, self.more]), dim=-1)
        return self.log_scale.exp() * soft_card.embedding(self.net, x, dtype) @ directions.t()


def classifier(args, pictures):
    model = Classifier(args, len(pictures.names), pictures.base).to(pictures.device)
    soft_card.install(model.net, args.drop_path)
    return model.to(memory_format=torch.channels_last)


class Optimiser:
    """Muon for what lies between hidden features, AdamW for the rest."""

    def __init__(self, model, args, device):
        hidden, decayed, rest = [], [], []
        for name, p in model.named_parameters():
            if name.startswith("net.") and classify_common.is_hidden(name[4:], p):
                hidden.append(p)
            else:
                (decayed if p.ndim >= 2 else rest).append(p)
        cuda = device.type == "cuda"
        self.args, self.rest, self.all = args, decayed + rest, hidden + decayed + rest
        self.muon = muon.Muon(hidden, weight_decay=args.weight_decay,
                              dtype=torch.bfloat16 if cuda else torch.float32)
        groups = [{"params": decayed, "weight_decay": args.weight_decay},
                  {"params": rest, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), **({"fused": True} if cuda else {}))

    def step(self, factor):
        """Returns the norm of AdamW's part of the gradient, on the device."""
        for p in self.all:      # nobody looks before the log does whether all is finite
            torch.nan_to_num(p.grad, 0.0, 0.0, 0.0, out=p.grad)
        norm = torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr * factor
        self.adam.step()
        self.muon.step(self.args.muon_lr * factor)
        return norm


def is_float(tensor):
    return tensor.dtype.is_floating_point


class Average:
    """A classifier whose weights follow another's. They reach over a share of all steps so far."""

    def __init__(self, model, args, pictures):
        self.model, self.share, self.steps = classifier(args, pictures).eval(), args.average, 0
        self.model.load_state_dict(model.state_dict())
        self.pairs = [[t for t in m.state_dict().values() if is_float(t)]
                      for m in (self.model, model)]

    @torch.no_grad()
    def follow(self):
        self.steps += 1
        own, theirs = self.pairs
        keep = 1 - 1 / max(1.0, self.share * self.steps)
        torch._foreach_mul_(own, keep)
        torch._foreach_add_(own, theirs, alpha=1 - keep)


class Graph:
    """Forward and backward of a step, recorded once and replayed: thousands of small launches in one."""

    def __init__(self, run, batch):
        self.inputs = [t.clone() for t in batch]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):       # chooses algorithms, fills tables
            for _ in range(3):
                run.forward_backward(self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        run.model.zero_grad(set_to_none=True)       # gradients become the recording's own
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = run.forward_backward(self.inputs)

    def replay(self, batch):
        for own, new in zip(self.inputs, batch):
            own.copy_(new)
        self.graph.replay()
        return self.outputs


def rate(progress, hold, warm=0.02):
    """Warm-up, a constant until `hold` of the run, then straight down to zero."""
    return min(1.0, (progress + 1e-4) / warm) * max(0.0, min(1.0, (1 - progress) / (1 - hold)))


class Run:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        cuda = self.device.type == "cuda"
        self.dtype = torch.bfloat16 if cuda and not args.full else None
        torch.manual_seed(args.seed)
        began = time.monotonic()
        self.pictures = Pictures(args, self.device)
        self.model = classifier(args, self.pictures)
        if args.init:
            self.begin_from(torch.load(args.init, map_location=self.device))
        self.average = Average(self.model, args, self.pictures)
        self.optimiser = Optimiser(self.model, args, self.device)
        self.objective = self.plain_objective
        if args.compile:
            self.objective = self.compiled_objective
        self.graph, self.wants_graph = None, args.graph and cuda
        self.step, self.sums = 0, torch.zeros(3, device=self.device)
        count = sum(p.numel() for p in self.model.net.parameters())
        print(f"{len(self.pictures.train)} pictures of {len(self.pictures.names)} kinds, {count} "
              f"parameters; ready after {time.monotonic() - began:.1f} s", flush=True)

    def begin_from(self, checkpoint):
        """Goes on from another run's averaged weights, with nothing of its optimiser."""
        self.model.net.load_state_dict(checkpoint["ema"])
        with torch.no_grad():
            self.model.log_scale.copy_(checkpoint["scale"])
            if self.model.more.shape == checkpoint["more"].shape:
                self.model.more.copy_(checkpoint["more"])

    def plain_objective(self, x, y, partner, own):
        """(loss, share of pictures found) of a mixed batch."""
        logits = self.model(x, self.dtype)
        first, second = (F.cross_entropy(logits, label, label_smoothing=self.args.smoothing,
                                         reduction="none") for label in (y, y[partner]))
        loss = (own * first + (1 - own) * second).mean()
        return loss, (logits.argmax(1) == y).float().mean()

    def compiled_objective(self, *batch):
        """The first call decides whether it is compiled; what fails there is run as it is."""
        try:
            compiled = torch.compile(self.plain_objective)
            found = compiled(*batch)
            found[0].backward()         # compiled at its first use
            self.objective = compiled
        except Exception as error:  # noqa: BLE001 (whatever a compiler throws)
            print(f"not compiled: {type(error).__name__}: {error}"[:500], flush=True)
            self.objective = self.plain_objective
        self.model.zero_grad(set_to_none=True)
        return self.objective(*batch)

    def batch(self, progress):
        args = self.args
        pictures, labels = self.pictures.next(args.batch)
        turned = classify_data_card.chance(len(labels), args.rotations, labels)
        quarters = torch.where(turned, torch.randint(1, 4, labels.shape, device=self.device),
                               torch.zeros_like(labels))
        x = classify_data_card.augmented(pictures, quarters.float(), args.image, args)
        mixing = float(progress < args.mix_until)
        x = classify_data_card.erased(x, args.erase * mixing)
        x, partner, own = classify_data_card.mixed(x, args.cutmix * mixing, args.mixup * mixing)
        y = labels + len(self.pictures.names) * quarters
        return x.contiguous(memory_format=torch.channels_last), y, partner, own

    def forward_backward(self, batch):
        self.model.zero_grad(set_to_none=True)
        loss, hits = self.objective(*batch)
        loss.backward()
        return loss.detach(), hits

    def gradients(self, batch):
        """(loss, share found) of a batch, its gradients in the parameters."""
        if self.wants_graph:
            self.wants_graph = False
            try:
                self.graph = Graph(self, batch)
            except Exception as error:  # noqa: BLE001 (slower without, but no worse)
                print(f"no graph: {type(error).__name__}: {error}"[:500], flush=True)
                torch.cuda.synchronize()
        return self.graph.replay(batch) if self.graph else self.forward_backward(batch)

    def advance(self, progress):
        with torch.no_grad():
            batch = self.batch(progress)
        loss, hits = self.gradients(batch)
        norm = self.optimiser.step(rate(progress, self.args.hold))
        self.average.follow()
        self.sums += torch.stack([loss, hits, norm])
        self.step += 1

    @torch.no_grad()
    def watched(self):
        """(top-1, loss) of the averaged weights, seen from both sides."""
        model, found = self.average.model, []
        for some in self.pictures.watch.split(250):
            x = classify_data_card.normalised(some.float() / 255)
            x = x.contiguous(memory_format=torch.channels_last)
            found.append(F.normalize(sum(soft_card.embedding(model.net, side, self.dtype)
                                         for side in (x, x.flip(3))), dim=-1))
        cosines = torch.cat(found) @ F.normalize(model.net.directions, dim=-1).t()
        labels = self.pictures.watch_labels
        return ((cosines.argmax(1) == labels).float().mean().item(),
                F.cross_entropy(cosines * model.log_scale.exp(), labels).item())

    def checkpoint(self):
        """The averaged weights as they will be stored: matrices and kernels in f16."""
        state = {k: (v.half() if v.ndim > 1 and k != "directions" else v).contiguous().cpu()
                 for k, v in self.average.model.net.state_dict().items()}
        path = os.path.join(self.args.out, "checkpoint.pt")
        torch.save({"config": self.model.net.config, "ema": state, "step": self.step,
                    "scale": self.average.model.log_scale.detach().cpu(),
                    "more": self.average.model.more.detach().cpu(),
                    "args": {**vars(self.args), "head": "hyperspherical"}}, path + ".part")
        os.replace(path + ".part", path)
        return os.path.getsize(path)


class Log:
    """log.csv and standard output; sums are fetched from the device here alone."""

    def __init__(self, run):
        self.run, self.path = run, os.path.join(run.args.out, "log.csv")
        self.step, self.elapsed = 0, 0.0
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(FIELDS)

    def write(self, elapsed, progress, watched=("", "")):
        run, steps = self.run, self.run.step - self.step
        loss, hits, norm = (run.sums / max(steps, 1)).tolist()
        run.sums.zero_()
        pace = steps * run.args.batch / max(elapsed - self.elapsed, 1e-9)
        self.step, self.elapsed = run.step, elapsed
        row = [f"{elapsed:.1f}", run.step, run.step * run.args.batch, f"{pace:.0f}",
               f"{progress:.4f}", f"{run.args.lr * rate(progress, run.args.hold):.3g}",
               f"{loss:.4f}", f"{hits:.4f}", f"{norm:.3g}",
               f"{run.model.log_scale.exp().item():.2f}", *watched]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        print(" ".join(f"{k}={v}" for k, v in zip(FIELDS, row) if v != ""), flush=True)
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} by step {run.step}")


def train(args):
    run = Run(args)
    log = Log(run)
    began = logged = saved = time.monotonic()
    while True:
        now = time.monotonic()
        progress = (now - began) / args.seconds
        if args.smoke:
            progress = run.step / 3
        if args.steps:
            progress = run.step / args.steps
        if progress >= 1:
            break
        run.advance(progress)
        if run.step == 1 or now - logged > args.log_every or args.smoke:
            log.write(time.monotonic() - began, progress)
            logged = time.monotonic()
        if run.step == 3 and run.device.type == "cuda":
            print(f"{torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB at most", flush=True)
        if now - saved > args.save_every:
            run.checkpoint()
            log.write(time.monotonic() - began, progress, [f"{v:.4f}" for v in run.watched()])
            logged = saved = time.monotonic()
    size = run.checkpoint()
    log.write(time.monotonic() - began, 1.0, [f"{v:.4f}" for v in run.watched()])
    print(f"done: {run.step} steps, checkpoint of {size} bytes", flush=True)


def network_arguments(parser):
    parser.add_argument("--dims", type=int, nargs=4, default=[64, 128, 256, 320])
    parser.add_argument("--depths", type=int, nargs=4, default=[1, 2, 4, 1])
    parser.add_argument("--ratios", type=int, nargs=3, default=[6, 3, 2])
    parser.add_argument("--kernels", type=int, nargs=3, default=[5, 5, 3])
    parser.add_argument("--stem", type=int, default=32)
    parser.add_argument("--image", type=int, default=96, help="side that the network sees")
    parser.add_argument("--embedding", type=int, default=128)
    parser.add_argument("--scale", type=float, default=14.3, help="of the cosines, at first")
    parser.add_argument("--drop-path", type=float, default=0.1)


def augmentation_arguments(parser):
    parser.add_argument("--rotations", type=float, default=0.4,
                        help="share of pictures turned by a quarter or more, as classes of their own")
    parser.add_argument("--least-area", type=float, default=0.2, help="of a random crop")
    parser.add_argument("--slant-share", type=float, default=0.5)
    parser.add_argument("--slant", type=float, default=0.3, help="radians at most")
    parser.add_argument("--jitter", type=float, default=0.35)
    parser.add_argument("--hue", type=float, default=0.06, help="of a half turn, at most")
    parser.add_argument("--grey", type=float, default=0.1, help="share without colour")
    parser.add_argument("--focus-share", type=float, default=0.3, help="made softer or sharper")
    parser.add_argument("--erase", type=float, default=0.2)
    parser.add_argument("--cutmix", type=float, default=0.5)
    parser.add_argument("--mixup", type=float, default=0.2)
    parser.add_argument("--mix-until", type=float, default=0.9, help="of the run; whole ones after")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True, help="file of classify_pack.py")
    parser.add_argument("--out", required=True, help="folder of checkpoint and log")
    parser.add_argument("--init", metavar="CHECKPOINT", help="of this trainer, to begin with")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--steps", type=int, default=0, help="instead of seconds")
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--lr", type=float, default=4e-3, help="of AdamW")
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--hold", type=float, default=0.3, help="until then the rate stays")
    parser.add_argument("--average", type=float, default=0.03, help="share of the steps that weights "
                        "are averaged over")
    parser.add_argument("--full", action="store_true", help="f32 instead of bf16 on a card")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graph", action="store_true", help="record a step once, replay it after")
    parser.add_argument("--log-every", type=float, default=10, help="seconds")
    parser.add_argument("--save-every", type=float, default=60, help="seconds")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--smoke", action="store_true", help="three steps of everything")
    parser.add_argument("--seed", type=int, default=1)
    network_arguments(parser)
    augmentation_arguments(parser)
    args = parser.parse_args()
    if args.smoke:
        args.save_every = 0
    return args


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    # What is in f32 is so because it must be: bf16 has the matrix units already.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    train(args)


if __name__ == "__main__":
    main()
