# SPDX-License-Identifier: MIT
"""Trains the general detector on a graphics card, by the clock, from a file of detect_pack.py and a
detector to go on from. export_detect.py reads what it writes."""

import argparse
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import card  # noqa: E402
import detect_common  # noqa: E402
import detect_data_card  # noqa: E402
import detect_loss_card  # noqa: E402
import detect_pack  # noqa: E402
import soft_card  # noqa: E402
import steady  # noqa: E402

FINDS = "person bicycle car motorcycle bus dog horse pizza laptop raccoon"


def network(args, device):
    model = detect_common.grown(args.init, args.classes, args.depths, args.channels, args.tower)
    model.config["image"] = args.image
    soft_card.install(model.backbone, args.drop_path)
    detect_common.frozen_statistics(model.train())
    return model.to(device)


def optimiser(model, args):
    """The backbone learns slower."""
    hidden, rest = detect_common.parameter_groups(model)
    rates = args.backbone_rate, 1.0
    return card.Optimiser(
        [(part, args.muon_lr * r, args.weight_decay) for part, r in zip(hidden, rates)],
        [(part, args.lr * r, 0.01) for part, r in zip(rest, rates)], args.clip, args)


def parted(records, held, seed):
    """(what is trained on, `held` of the annotated pictures)"""
    own = [i for i, r in enumerate(records) if r["group"] == "annotated"]
    mixed = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed)).tolist()
    apart = {own[i] for i in mixed[:held]}
    return ([r for i, r in enumerate(records) if i not in apart], [records[i] for i in sorted(apart)])


class Run(card.Run):
    fields, watched = ["cls", "box", "positives", "side"], ["held_cls", "held_box"]

    def __init__(self, args):
        super().__init__(args)
        names, records = detect_pack.unpacked(args.pack, args.threads)
        args.classes = args.kept + [n for n in names if n not in args.kept and n not in args.without]
        own, held = parted(records, args.hold, args.seed)
        store = detect_data_card.Store(names, own, args.classes, args.kept, self.device, args.threads)
        self.composer, self.held = detect_data_card.Composer(store, args), None
        if held:
            still = argparse.Namespace(**{**vars(args), "zoom": (1.0, 1.0), "jitter": 0.0, "blur": 0.0,
                                          "grey": 0.0, "noise": 0.0, "paste": 0.0, "erase": 0.0})
            store = detect_data_card.Store(names, held, args.classes, [], self.device, args.threads)
            self.held = detect_data_card.Composer(store, still)
        self.model = network(args, self.device)
        self.average = card.Average(self.model, args.average)
        self.optimiser = optimiser(self.model, args)
        self.loss = detect_loss_card.Loss(self.model.config, args.box_weight)
        if args.compile:
            self.loss.compile(self.device)
        self.ready(f"{len(own)} records, {len(held)} held back, {len(args.classes)} classes")

    def found(self, model, sample, side):
        """(loss, class part, box part, positives)"""
        with self.autocast():
            out = model(sample["x"])
        return self.loss(out, side, sample)

    def losses(self, progress):
        args, side = self.args, steady.side(self.args.sides, progress)
        count = args.batch * (args.sides[-1][0] / side) ** 2
        count = max(1, round(count / 4) * 4 if count >= 8 else round(count))
        with torch.no_grad():
            sample = self.composer.batch(count, side, progress >= args.mosaic_until)
        loss, *parts = self.found(self.model, sample, side)
        return loss, [*parts, torch.full_like(loss, float(side))], count

    @torch.no_grad()
    def watch(self):
        """Of the pictures held back, whole ones."""
        if self.held is None:
            return []
        side, found, count = self.args.sides[-1][0], [], len(self.held.store.order)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            self.held.order = None
            for first in range(0, count, self.args.batch):
                n = min(count - first, self.args.batch)
                parts = self.found(self.average.model, self.held.batch(n, side, True), side)[1:3]
                found.append(n / count * torch.stack(parts))
        return sum(found).tolist()

    def content(self):
        return {"ema": self.average.model.state_dict(), "config": self.model.config,
                "pictures": self.samples}


def picture_arguments(add):
    add("--sides", type=steady.resolution, nargs="+", metavar="SIDE:UNTIL",
        default=[(320, 0.35), (384, 0.6), (448, 1.0)])
    add("--zoom", type=float, nargs=2, default=[0.55, 1.9],
        help="long side of a picture, in sides of the canvas")
    add("--mosaic", type=float, default=0.6, help="share of pictures made of four")
    add("--mosaic-until", type=float, default=0.88, help="of the run; whole ones after")
    add("--paste", type=float, default=0.4, help="share with a thing cut out of another photograph")
    add("--mixup", type=float, default=0.15, help="share with another laid over")
    add("--erase", type=float, default=0.25, help="share with a part erased")
    add("--jitter", type=float, default=0.35)
    add("--grey", type=float, default=0.08, help="share without colour")
    add("--blur", type=float, default=0.15, help="share of sources that are blurred")
    add("--noise", type=float, default=0.2, help="share with noise")


def arguments(argv=None):
    parser = card.parser(__doc__, batch=64, lr=2e-3, muon_lr=3e-3, weight_decay=0.1, fall_from=0.2,
                         average=0.03, seed=3)
    add = parser.add_argument
    add("--init", required=True, help="a detector to go on from, safetensors")
    add("--compile", action="store_true", help=card.COMPILE)
    add("--kept", nargs="+", default=FINDS.split(), metavar="NAME", help="what is shipped; shown more "
        "often where few pictures show it")
    add("--without", nargs="*", default=[], metavar="NAME", help="not even taught")
    add("--hold", type=int, default=0, help="annotated pictures that are not trained on")
    add("--depths", type=int, nargs=4, help="blocks by stage, more in the last one alone")
    add("--channels", type=int)
    add("--tower", type=int)
    add("--image", type=int, nargs=2, default=[448, 448], help="as the program sees")
    add("--drop-path", type=float, default=0.1, help="chance that a picture misses a last branch")
    add("--box-weight", type=float, default=1.0)
    add("--backbone-rate", type=float, default=0.5)
    add("--clip", type=float, default=5.0, help="norm of AdamW's gradient at most")
    picture_arguments(add)
    return card.parsed(parser, argv)


if __name__ == "__main__":
    Run(arguments()).train()
