# SPDX-License-Identifier: MIT
"""Holds the targets and the loss of the card's detector trainer, on any device, to detect_loss.py on
the CPU; check_soft_card.py does so for its network.

    python3 tools/train/check_detect_card.py --pack FILE --init models/retina-soft-small.safetensors

With --show FILE a batch is written as a picture, boxes drawn: green taught, red ignored, blue vague.
"""

import argparse
import os
import sys

import cv2
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import card  # noqa: E402
import detect_common  # noqa: E402
import detect_data  # noqa: E402
import detect_data_card  # noqa: E402
import detect_loss  # noqa: E402
import detect_loss_card  # noqa: E402
import detect_pack  # noqa: E402
import retina  # noqa: E402
import train_detect_card  # noqa: E402


def to_cpu(sample):
    return {k: v.detach().cpu() for k, v in sample.items()}


def singles(sample):
    """The samples as detect_loss.py wants them."""
    for i in range(len(sample["boxes"])):
        own = {k: v[i] for k, v in sample.items()}
        real = own["regions"][:, 2] > own["regions"][:, 0]
        yield {**{k: own[k][own["valid"]].numpy() for k in ("boxes", "labels", "ignored", "vague")},
               "regions": own["regions"][real].numpy(), "looked": own["looked"][real].numpy()}


def same(name, a, b, most):
    error = (a.double() - b.double()).abs().max().item() / max(b.double().abs().max().item(), 1e-9)
    print(f"{name}: {error:.2g}" + ("" if error <= most else f", more than {most:.2g}"), flush=True)
    return error <= most


def check_targets(sample, config, side):
    """Card and reference agree on every anchor of every picture."""
    loss = detect_loss.Loss(config, 1.0)
    maps = [-(-side // s) for s in config["strides"]]
    anchors = sum(n * n for n in maps) * 9
    out = {f"cls_P{i + 3}": torch.zeros(1, n, n, 1) for i, n in enumerate(maps)}
    placed = loss.anchors_of(out, side)
    ours = detect_loss_card.Anchors(config, side, sample["boxes"].device)
    weight, label, boxes, boxed = (t.cpu() for t in
                                   detect_loss_card.targets(ours, sample, config["classes"]))
    fine, taught = True, 0
    for i, single in enumerate(singles(to_cpu(sample))):
        target, held, positive, box = detect_loss.targets(*placed, single)
        mine = torch.zeros_like(target)
        named = label[i] >= 0
        mine[named, label[i][named]] = 1
        where = torch.zeros(anchors, dtype=torch.bool)
        where[positive] = True
        wrong = [(mine != target).sum().item(), (weight[i].float() != held).sum().item(),
                 (boxed[i] != where).sum().item()]
        if not any(wrong):
            found = boxes[i][boxed[i]]
            wrong.append((found - box).abs().max().item() > 1e-3 if len(box) else 0)
        taught += len(positive)
        if any(wrong):
            print(f"picture {i}: targets, weights, anchors of boxes that differ: {wrong}")
            fine = False
    print(f"targets of {len(label)} pictures, {taught} anchors with a box: "
          + ("alike" if fine else "not alike"))
    return fine


def check_loss(sample, out, config, side):
    """Loss and gradient, without mixed pictures, whose regions the reference does not know."""
    ours = {k: v.detach().clone().requires_grad_() for k, v in out.items()}
    loss = detect_loss_card.Loss(config, 1.0)(ours, side, sample)[0]
    loss.backward()
    theirs = {k: v.detach().cpu().contiguous().requires_grad_() for k, v in out.items()}
    reference = detect_loss.Loss(config, 1.0)(theirs, side, list(singles(to_cpu(sample))))[0]
    reference.backward()
    fine = same("loss", loss.detach().cpu(), reference.detach(), 1e-5)
    for name in ("cls", "reg"):
        mine, its = (torch.cat([v.grad.cpu().flatten() for k, v in part.items() if name in k])
                     for part in (ours, theirs))
        fine &= same(f"its gradient by {name}", mine, its, 1e-4)
    return fine


def show(sample, path):
    x = sample["x"].cpu().permute(0, 2, 3, 1).numpy() * detect_data.STD + detect_data.MEAN
    pictures = np.ascontiguousarray(x.clip(0, 255).astype(np.uint8)[..., ::-1])
    for picture, *objects in zip(pictures, *(sample[k].cpu() for k in detect_data_card.FIELDS)):
        for box, label, ignored, vague, valid in zip(*objects):
            if valid:
                x1, y1, x2, y2 = box.round().int().tolist()
                colour = (0, 0, 255) if ignored else (255, 0, 0) if vague else (0, 255, 0)
                cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour)
                cv2.putText(picture, str(int(label)), (x1 + 2, y1 + 12), 0, 0.4, colour)
    rows = [np.concatenate(list(pictures[i:i + 4]), 1) for i in range(0, len(pictures) // 4 * 4, 4)]
    cv2.imwrite(path, np.concatenate(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=12, help="pictures")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--show", metavar="FILE")
    args = parser.parse_args()
    own = train_detect_card.arguments(["--pack", args.pack, "--init", args.init, "--out", "."])
    names, records = detect_pack.unpacked(args.pack, os.cpu_count())
    classes = own.kept + [n for n in names if n not in own.kept]
    card.settle(5)
    store = detect_data_card.Store(names, records, classes, own.kept, torch.device(args.device))
    composer = detect_data_card.Composer(store, own)
    if args.show:
        show(composer.batch(args.count, args.side), args.show)
    own.mixup = 0.0
    sample = composer.batch(args.count, args.side)
    # Of places that are equally near each takes others: boxes are moved off whole pixels.
    sample["boxes"] = sample["boxes"] + 0.01 * torch.rand_like(sample["boxes"])
    given = retina.load_model(args.init)[0].config      # and grown in every way there is
    *depths, last = given["backbone"]["depths"]
    model = detect_common.grown(args.init, classes, [*depths, last + 1], given["channels"] + 16,
                                given["tower"] + 1)
    fine = check_targets(sample, model.config, args.side)
    x = sample["x"][:2].detach().cpu().contiguous()
    out = {k: v.detach().to(args.device).repeat(args.count // 2, 1, 1, 1) for k, v in model(x).items()}
    fine &= check_loss(sample, out, model.config, args.side)
    print("alike" if fine else "NOT ALIKE")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
