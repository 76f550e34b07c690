# SPDX-License-Identifier: MIT
"""Trains the general detector on a graphics card for a given time, from a file of detect_pack.py.

    python3 tools/train/train_detect_card.py --pack FILE --init models/retina-soft-small.safetensors \
        --out RUN --seconds 400

RUN/checkpoint.pt is for export_detect.py (averaged weights); RUN/raw.pt has the last ones. Everything
happens on the device; the host reads numbers back only when it writes a line of the log.
"""

import argparse
import collections
import copy
import csv
import json
import os
import sys
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import detect_data_card  # noqa: E402
import detect_loss_card  # noqa: E402
import detect_common  # noqa: E402
import muon  # noqa: E402
import detect_pack  # noqa: E402

WARM = 0.02                         # share of the time in which the rates rise
LOG_EVERY, SAVE_EVERY = 10.0, 60.0  # seconds
AHEAD = 2                           # steps that the host may be before the device
LARGEST = 15 * 2 ** 20              # bytes of a checkpoint; above, matrices are kept in f16
FINDS = "person bicycle car motorcycle bus dog horse pizza laptop raccoon"
FIELDS = ["elapsed", "steps", "pictures", "per_s", "side", "factor", "loss", "cls", "box", "positives",
          "norm", "held_cls", "held_box"]


class Muon:
    """muon.Muon's step, on the device and without a loop over parameters."""

    def __init__(self, params, rate, weight_decay, dtype):
        self.groups, self.rate, self.weight_decay, self.dtype = {}, rate, weight_decay, dtype
        for p in params:
            self.groups.setdefault((p.shape[0], p.numel() // p.shape[0]), []).append(p)
        self.state = {k: torch.zeros(len(g), *k, device=g[0].device) for k, g in self.groups.items()}

    @torch.no_grad()
    def step(self, factor, momentum=0.95):
        lr = self.rate * factor
        for key, group in self.groups.items():
            grad = torch.stack([p.grad.reshape(key) for p in group])
            mean = self.state[key].lerp_(grad, 1 - momentum)
            update = muon.orthogonalised(torch.lerp(grad, mean, momentum), dtype=self.dtype)
            update = [u.view_as(p) for p, u in zip(group, update.unbind())]
            torch._foreach_mul_(group, 1 - lr * self.weight_decay)
            torch._foreach_add_(group, update, alpha=-lr * 0.2 * max(key) ** 0.5)


class Optimiser:
    """Muon for hidden matrices and kernels, AdamW for the rest; the backbone learns slower."""

    def __init__(self, model, args, dtype):
        hidden, rest = {True: [], False: []}, {True: [], False: []}
        other = ("patch_embed1", "pos_embed", "attn.conv", "retina_")
        for name, p in model.named_parameters():
            old = name.startswith("backbone")
            small = p.ndim < 2 or any(word in name for word in other)
            (rest if small else hidden)[old].append(p)
        rates = {True: args.backbone_rate, False: 1.0}
        self.clip = args.clip
        self.muons = [Muon(hidden[old], args.muon_lr * rates[old], args.weight_decay, dtype)
                      for old in rates]
        adams = rest[True] + rest[False]
        self.params = adams + hidden[True] + hidden[False]      # AdamW's first: one piece to be clipped
        self.clipped = sum(p.numel() for p in adams)
        fused = {"fused": True} if self.params[0].is_cuda else {}
        self.adam = torch.optim.AdamW([{"params": rest[old], "rate": args.lr * rates[old]}
                                       for old in rates], betas=(0.9, 0.99), weight_decay=0.01, **fused)

    def step(self, factor):
        """Returns the norm of the gradient of what AdamW learns. A gradient that is not finite counts
        as zero, which costs that step and no more."""
        with torch.no_grad():
            flat = torch.cat([p.grad.reshape(-1) for p in self.params])
            flat.nan_to_num_(0.0, 0.0, 0.0)
            part = flat[:self.clipped]
            norm = part.norm()
            part *= (self.clip / (norm + 1e-6)).clamp(max=1.0)
            start = 0
            for p in self.params:
                p.grad = flat[start:start + p.numel()].view(p.shape)
                start += p.numel()
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * factor
        self.adam.step()
        for m in self.muons:
            m.step(factor)
        return norm


def trained_model(args, classes):
    torch.manual_seed(args.seed)
    model = detect_common.grown(args.init, classes, args.depths, args.channels, args.tower)
    model.config["image"] = args.image
    return model.to(args.device)    # contiguous, as the gradients are: AdamW's fused kernel wants that


class Average:
    """The model's averaged weights, over a share of the steps that the run will have."""

    def __init__(self, model, share):
        self.model, self.share = copy.deepcopy(model), share
        for p in self.model.parameters():
            p.requires_grad_(False)
        self.pairs = [p.data for p in self.model.parameters()], [p.data for p in model.parameters()]

    @torch.no_grad()
    def follow(self, step, progress):
        expected = (step + 1) / max(progress, 1e-3)
        horizon = max(2.0, min((step + 10) / 5, self.share * expected))
        own, new = self.pairs
        torch._foreach_mul_(own, 1 - 1 / horizon)
        torch._foreach_add_(own, new, alpha=1 / horizon)


class Run:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        began = time.monotonic()
        names, records = detect_pack.unpacked(args.pack, args.threads)
        args.classes = args.kept + [n for n in names if n not in args.kept and n not in args.without]
        own, held = parted(records, args.hold, args.seed)
        torch.manual_seed(args.seed)
        store = detect_data_card.Store(names, own, args.classes, args.kept, self.device, args.threads)
        self.composer, self.held = detect_data_card.Composer(store, args), None
        if held:
            still = argparse.Namespace(**{**vars(args), "zoom": (1.0, 1.0), "jitter": 0.0, "blur": 0.0,
                                          "grey": 0.0, "noise": 0.0, "paste": 0.0, "erase": 0.0})
            store = detect_data_card.Store(names, held, args.classes, [], self.device)
            self.held = detect_data_card.Composer(store, still)
        self.dtype = torch.float32 if args.f32 else torch.bfloat16
        self.model = trained_model(args, args.classes)
        self.net = detect_common.Net(self.model, self.dtype, args.drop_path, args.dropout)
        self.loss = detect_loss_card.Loss(self.model.config, args.box_weight)
        if args.compile:
            try:
                detect_loss_card.compile_dense(self.device)
            except Exception as e:  # whatever a compiler raises: it works without
                say(f"not compiled: {type(e).__name__}: {e}")
        self.average = Average(self.model, args.average)
        self.seen = detect_common.Net(self.average.model, self.dtype)
        self.seen.training = False
        self.optimiser = Optimiser(self.model, args, self.dtype)
        self.step, self.pictures, self.began = 0, 0, None
        self.sums, self.count, self.ahead = 0, 0, collections.deque()
        weights = sum(p.numel() for p in self.model.parameters())
        say(f"{len(own)} records, {len(held)} held back, {len(args.classes)} classes, {weights} weights; "
            f"ready after {time.monotonic() - began:.1f} s")

    def advance(self, side, late, factor, progress):
        count = self.args.batch * (self.args.sides[-1][0] / side) ** 2
        count = max(1, round(count / 4) * 4 if count >= 8 else round(count))
        with torch.no_grad():
            sample = self.composer.batch(count, side, late)
        for p in self.optimiser.params:
            p.grad = None
        loss, *parts = self.loss(self.net(sample["x"]), side, sample)
        loss.backward()
        norm = self.optimiser.step(factor)
        self.average.follow(self.step, progress)
        self.sums = self.sums + torch.stack([loss.detach(), *(p.float() for p in parts), norm])
        self.count, self.step, self.pictures = self.count + 1, self.step + 1, self.pictures + count
        self.keep_pace()

    def keep_pace(self):
        """Waits for the step before the last ones, so that the clock tells of what is done."""
        if self.device.type == "cuda":
            event = torch.cuda.Event()
            event.record()
            self.ahead.append(event)
            if len(self.ahead) > AHEAD:
                self.ahead.popleft().synchronize()

    def taken(self):
        """Means of (loss, class part, box part, positives, norm) since the last call."""
        values = (self.sums / self.count).tolist() if self.count else []
        self.sums, self.count = 0, 0
        return values

    @torch.no_grad()
    def validate(self):
        """(class part, box part) of the averaged weights on the pictures held back, whole ones."""
        if self.held is None:
            return []
        side, found = self.args.sides[-1][0], []
        left = len(self.held.store.order)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            self.held.order = None
            while left > 0:
                n = min(left, self.args.batch)
                sample = self.held.batch(n, side, True)
                found.append([n * v for v in self.loss(self.seen(sample["x"]), side, sample)[1:3]])
                left -= n
        total = torch.stack([torch.stack(f) for f in found]).sum(0) / len(self.held.store.order)
        return [f"{v:.5g}" for v in total.tolist()]

    def checkpoint(self):
        for name, model in (("checkpoint", self.average.model), ("raw", self.model)):
            state = {k: v.detach().float().cpu().contiguous() for k, v in model.state_dict().items()}
            if sum(4 * v.numel() for v in state.values()) > LARGEST:
                state = {k: v.half() if v.ndim > 1 else v for k, v in state.items()}
            save(os.path.join(self.args.out, name + ".pt"),
                 {"ema": state, "config": self.model.config, "args": vars(self.args),
                  "step": self.step, "pictures": self.pictures})


def say(text):
    print(text, flush=True)


def save(path, content):
    torch.save(content, path + ".part")
    os.replace(path + ".part", path)


def parted(records, held, seed):
    """(what is trained on, `held` of the annotated pictures)"""
    own = [i for i, r in enumerate(records) if r["group"] == "annotated"]
    mixed = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed)).tolist()
    apart = {own[i] for i in mixed[:held]}
    return ([r for i, r in enumerate(records) if i not in apart], [records[i] for i in sorted(apart)])


def rate(progress, constant):
    """Warm-up, a constant, then from that share of the run a straight line down to zero."""
    return max(0.0, min(1.0, progress / WARM + 0.01) * min(1.0, (1 - progress) / (1 - constant)))


class Log:
    def __init__(self, run):
        self.run, self.rows = run, open(os.path.join(run.args.out, "log.csv"), "w", newline="",
                                        encoding="utf-8")
        self.writer = csv.writer(self.rows)
        self.writer.writerow(FIELDS)
        self.time, self.pictures, self.memory = time.monotonic(), 0, False

    def line(self, side, factor, held=()):
        run, values = self.run, self.run.taken()
        now = time.monotonic()
        speed = (run.pictures - self.pictures) / max(now - self.time, 1e-9)
        row = [f"{now - run.began:.1f}", run.step, run.pictures, f"{speed:.1f}", side, f"{factor:.4f}",
               *([f"{v:.5g}" for v in values] or [""] * 5), *held]
        self.writer.writerow(row)
        self.rows.flush()
        say("  ".join(f"{k} {v}" for k, v in zip(FIELDS, row) if v))
        self.time, self.pictures = now, run.pictures
        if run.device.type == "cuda" and not self.memory:
            say(f"memory: {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB at most")
            self.memory = True
        if values and not abs(values[0]) < 1e6:
            raise FloatingPointError(f"loss {values[0]}")


def train(args):
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True      # products in f32 stay exact: kernels of attention
    run = Run(args)
    log = Log(run)
    run.began = logged = saved = time.monotonic()
    progress, side, factor = 0.0, args.sides[0][0], 0.0
    while progress < 1 and run.step < args.steps:
        side = next((s for s, until in args.sides if progress < until), args.sides[-1][0])
        factor = rate(progress, args.constant)
        run.advance(side, progress >= args.mosaic_until, factor, progress)
        now = time.monotonic()
        if now - logged > LOG_EVERY or run.step == 1:
            log.line(side, factor)
            logged = now
        if now - saved > SAVE_EVERY:
            run.checkpoint()
            log.line(side, factor, run.validate())
            saved = logged = time.monotonic()
        by_steps = run.step / args.steps if args.steps < 10 ** 9 else 0.0
        progress = max((time.monotonic() - run.began) / args.seconds, by_steps)
    run.checkpoint()
    log.line(side, factor, run.validate())
    say(f"done: {run.step} steps, {run.pictures} pictures, {time.monotonic() - run.began:.1f} s")


def smoke(args):
    """Every path three times over: each side, whole pictures and mosaics, checkpoint, validation."""
    run = Run(args)
    log = Log(run)
    run.began = time.monotonic()
    for side, _ in args.sides:
        for i in range(3):
            now = time.monotonic()
            run.advance(side, i == 2, 0.1, 0.1 * (i + 1))
            if run.device.type == "cuda":
                torch.cuda.synchronize()
            say(f"side {side}, step {i + 1}: {time.monotonic() - now:.3f} s")
        log.line(side, 0.1)
    run.checkpoint()
    log.line(run.args.sides[-1][0], 0.1, run.validate())
    sizes = {n: os.path.getsize(os.path.join(args.out, n)) for n in ("checkpoint.pt", "raw.pt")}
    say(f"smoke: done, {json.dumps(sizes)}")


def resolution(text):
    side, until = text.split(":")
    return int(side), float(until)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--pack", required=True)
    add("--init", required=True, help="a detector to go on from, safetensors")
    add("--out", required=True)
    add("--seconds", type=float, default=400)
    add("--steps", type=int, default=10 ** 9, help="ends before, after so many")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=os.cpu_count(), help="that decode")
    add("--smoke", action="store_true", help="a few steps with all there is, then stop")
    add("--kept", nargs="+", default=FINDS.split(), metavar="NAME", help="what is shipped; shown more "
        "often where few pictures show it")
    add("--without", nargs="*", default=[], metavar="NAME", help="not even taught")
    add("--hold", type=int, default=0, help="annotated pictures that are not trained on")
    add("--depths", type=int, nargs=4, help="blocks by stage, more in the last one alone")
    add("--channels", type=int)
    add("--tower", type=int)
    add("--image", type=int, nargs=2, default=[448, 448], help="as the program sees")
    add("--batch", type=int, default=64, help="at the last side; as many pixels at the others")
    add("--sides", type=resolution, nargs="+", default=[(320, 0.35), (384, 0.6), (448, 1.0)])
    add("--zoom", type=float, nargs=2, default=[0.55, 1.9], help="of pictures, in sides of the canvas")
    add("--mosaic", type=float, default=0.6)
    add("--mosaic-until", type=float, default=0.88)
    add("--paste", type=float, default=0.4)
    add("--mixup", type=float, default=0.15)
    add("--erase", type=float, default=0.25)
    add("--jitter", type=float, default=0.35)
    add("--grey", type=float, default=0.08)
    add("--blur", type=float, default=0.15)
    add("--noise", type=float, default=0.2)
    add("--drop-path", type=float, default=0.1)
    add("--dropout", type=float, default=0.05)
    add("--box-weight", type=float, default=1.0)
    add("--lr", type=float, default=2e-3)
    add("--muon-lr", type=float, default=3e-3)
    add("--backbone-rate", type=float, default=0.5)
    add("--weight-decay", type=float, default=0.1)
    add("--clip", type=float, default=5.0)
    add("--constant", type=float, default=0.2)
    add("--average", type=float, default=0.03, help="steps to average over, as a share of the run's")
    add("--f32", action="store_true", help="no products in bf16")
    add("--compile", action="store_true", help="the focal loss in one pass, where torch.compile works")
    add("--seed", type=int, default=3)
    return parser.parse_args()


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    (smoke if args.smoke else train)(args)


if __name__ == "__main__":
    main()
