# SPDX-License-Identifier: MIT
"""Holds the network of deblur_net_card.py, on any device, to lmd_vit.py on the CPU, sharpening to
deblur_synth's, and the imitation of JPEG to OpenCV's; writes a sheet of crops beside deblur_synth's."""

import argparse
import sys
import time

import cv2
import numpy as np
import torch

import card
import deblur_net_card
import deblur_store_card
import deblur_synth
import deblur_synth_card
import lmd_vit


def from_synth(data, rng, count, side):
    """Crops [n, 7, side, side] of whole pairs, two of three centred in the blur."""
    import deblur_pairs
    source, crops = deblur_synth.Source(data), []
    while len(crops) < count:
        pair = deblur_synth.training_pair(source, rng)
        if pair is None or min(pair[0].shape[:2]) < side:
            continue
        block = np.concatenate([pair[0], pair[1], pair[2][..., None]], -1)
        h, w = block.shape[:2]
        y, x = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
        ys, xs = np.nonzero(block[::4, ::4, 6])
        if len(crops) % 3 and len(ys):
            k, part = int(rng.integers(len(ys))), rng.uniform(side / 4, 3 * side / 4, 2)
            y = int(np.clip(4 * ys[k] - part[0], 0, h - side))
            x = int(np.clip(4 * xs[k] - part[1], 0, w - side))
        crops.append(deblur_pairs.augmented(rng, block[y:y + side, x:x + side]).transpose(2, 0, 1))
    return np.stack(crops)


def numbers(crops):
    """Shares of crops without blur, of blurred pixels; PSNR in the blur, outside it."""
    x, y, m = (crops[:, k].astype(np.float64) / 255 for k in (slice(0, 3), slice(3, 6), 6))
    area = m.mean((1, 2))
    square = np.square(x - y).mean(1)
    some, rest = area > 0.02, area < 0.98
    def decibels(weight, which):
        mean = (square * weight)[which].sum((1, 2)) / weight[which].sum((1, 2))
        return -10 * np.log10(mean + 1e-8)
    inside, outside = decibels(m, some), decibels(1 - m, rest)
    return f"no blur {1 - some.mean():.3f}, blurred {area.mean():.3f}, inside " \
        f"{inside.mean():.2f} +- {inside.std():.2f} dB, outside {np.median(outside):.2f} dB"


def sheet(crops, columns):
    """Input, target and mask of each crop, over each other."""
    tall = [np.vstack([c[:3].transpose(1, 2, 0), c[3:6].transpose(1, 2, 0),
                       np.repeat(c[6][..., None], 3, -1)]) for c in crops]
    rows = [np.hstack(tall[i:i + columns]) for i in range(0, len(tall), columns)]
    return np.vstack([r for r in rows if r.shape[1] == rows[0].shape[1]])


def check_jpeg(synthesis, photo):
    """Whether it does nearly what OpenCV does: far more alike than either is to the photograph."""
    fine, x = True, torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float().to(synthesis.device)
    for quality in (75, 90, 96):
        q = torch.tensor([quality], device=synthesis.device)
        ours = synthesis.jpeg(x, q, (0, 0))[0].permute(1, 2, 0).cpu().numpy()
        packed = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        theirs = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32)
        def decibels(a, b):
            return 10 * np.log10(255 ** 2 / np.square(a - b).mean())
        loss, between = decibels(theirs, photo), decibels(ours, theirs)
        print(f"JPEG {quality}: {decibels(ours, photo):.2f} dB, OpenCV {loss:.2f} dB, between them "
              f"{between:.2f} dB")
        fine &= between > min(loss + 3, 45)
    return fine


def check_sharpening(synthesis, photo):
    """Whether it is deblur_synth's up to its rounding on the way, but for the border."""
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    theirs = deblur_synth.sharpened(rng, np.ascontiguousarray(photo))[4:-4, 4:-4].astype(np.float32)
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float().to(synthesis.device)
    amount = synthesis.constant([[[[again.uniform(0, 0.8)]]]])
    ours = synthesis.sharpened(x, amount)[0].permute(1, 2, 0).cpu().numpy()[4:-4, 4:-4]
    most = np.abs(ours - theirs).max()
    print(f"sharpening: {most:.0f} of 255 away")
    return most <= 1


def check_network(device):
    """Whether results and gradients agree: in f32 closely, in bf16 about."""
    config = {"unshuffle": 2, "embed_dim": 24, "depths": [2] * 5, "heads": [1, 2, 4, 4, 2],
              "threshold": 0.5, "fade": (0.1, 0.7)}
    plain, fine = lmd_vit.LmdVit(**config), True
    for name, p in plain.named_parameters():
        if "bias" in name or "modulator" in name:       # of attention, too: none may be zero
            torch.nn.init.normal_(p, 0, 0.3)
    x, by = torch.rand(2, 64, 128, 3), torch.randn(2, 64, 128, 3)
    for gated, dtype, most in ((False, torch.float32, 1e-3), (True, torch.float32, 1e-3),
                               (False, torch.bfloat16, 0.1)):
        ours = deblur_net_card.CardVit(dtype, **config)
        ours.load_state_dict(plain.state_dict())
        ours.to(device)
        plain.zero_grad()
        y, scores = plain(x, gated)
        ((y * by).sum() + sum(z.sum() for z in scores.values())).backward()
        own, own_scores = ours(x.to(device), gated)
        ((own * by.to(device)).sum() + sum(z.sum() for z in own_scores.values())).backward()
        change = ((own.detach().cpu() - y).norm() / (y - x).norm()).item()
        pairs = [(p.grad.flatten(), q.grad.cpu().flatten())
                 for p, q in zip(plain.parameters(), ours.parameters())]
        a, b = (torch.cat(part) for part in zip(*pairs))
        slope = ((a - b).norm() / a.norm()).item()
        print(f"network, gated {gated}, {dtype}: {change:.2g} away, gradient {slope:.2g}", flush=True)
        fine &= change < most and slope < most
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--data", help="folder of index.csv, for deblur_synth's crops beside ours")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="PNG file; deblur_synth's go into another, -synth.png")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    card.settle(args.seed)
    if args.device.startswith("cuda"):
        deblur_net_card.settle()
    fine, began = check_network(args.device), time.monotonic()
    store = deblur_store_card.Store(args.pack)
    synthesis = deblur_synth_card.Synthesis(store, args.device)
    print(f"loaded in {time.monotonic() - began:.1f} s, {store.pixels.nbytes / 2 ** 30:.2f} GiB, "
          f"{len(store.photos)} photographs, {len(store.objects)} objects")
    rng, began = np.random.default_rng(args.seed), time.monotonic()
    plan = deblur_store_card.Plan(store, rng, args.count, args.side, 0.0)
    drawn = time.monotonic()
    crops = deblur_synth_card.augmented(synthesis.crops(plan)).cpu().numpy()
    print(f"drawn in {drawn - began:.3f} s, made in {time.monotonic() - drawn:.3f} s; "
          f"{plan.frames.mean():.1f} frames, {plan.margin.mean():.1f} margin")
    print("ours:  ", numbers(crops))
    if args.out:
        cv2.imwrite(args.out, sheet(crops[rng.permutation(len(crops))], 12)[..., ::-1])
    fine &= check_jpeg(synthesis, crops[0, 3:6].transpose(1, 2, 0))
    fine &= check_sharpening(synthesis, crops[0, 3:6].transpose(1, 2, 0))
    if args.data:
        theirs = from_synth(args.data, rng, args.count, args.side)
        print("synth: ", numbers(theirs))
        if args.out:
            cv2.imwrite(args.out.replace(".png", "-synth.png"), sheet(theirs, 12)[..., ::-1])
    print("alike" if fine else "NOT ALIKE")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
