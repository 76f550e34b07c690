# SPDX-License-Identifier: MIT
"""Chooses the keep threshold on whole training pictures and writes the model to ship."""

import argparse
import json
import os
import sys

import blas

blas.settle()

import numpy as np  # noqa: E402
import torch  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import deblur_pairs  # noqa: E402
import eval_deblur  # noqa: E402
import lmd_vit  # noqa: E402


def load(path):
    """A safetensors file, or the averaged weights of a training checkpoint."""
    if not path.endswith(".pt"):
        return lmd_vit.load_model(path)
    checkpoint = torch.load(path)
    model = lmd_vit.LmdVit(**checkpoint["config"])
    model.load_state_dict(checkpoint["ema"])
    return model.eval()


def mixed(model, other, share):
    """Weights on the line from one model to another: between one and what became of it by further
    training lie models that do both tasks (Wortsman et al. 2022, arXiv 2109.01903)."""
    with torch.no_grad():
        for p, q in zip(model.parameters(), other.parameters()):
            p.lerp_(q, share)
    return model


def probabilities(model, pairs, count):
    """[{predictor: (probability of blur, blurred or not), both flat}], one per picture whose blur
    is local. The predictors see features of a run that prunes nothing."""
    rng, found = np.random.default_rng(0), []
    while len(found) < count:
        block = np.array(pairs.block(int(rng.integers(len(pairs.entries)))))
        if (block[..., 6] == 0).mean() < 0.05:
            continue
        x = torch.from_numpy(block[..., :3]).float() / 255
        canvas, top, left = lmd_vit.pad(x, model.multiple, "reflect")
        _, _, scores = model.infer(canvas, dense=True)
        mask = eval_deblur.canvas_mask(block[..., 6], top, left, model.multiple)
        found.append({k: (torch.softmax(scores[k], -1)[..., 0].numpy().ravel(), m.ravel())
                      for k, m in eval_deblur.window_masks(model, mask).items()})
    return found


def rates(found, threshold):
    """(recall, kept, blurred), averaged over pictures and predictors."""
    values = [((p > threshold)[m].mean(), (p > threshold).mean(), m.mean())
              for picture in found for p, m in picture.values() if m.any()]
    return np.mean(values, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="checkpoint.pt or *.safetensors")
    parser.add_argument("--mix", nargs=2, metavar=("MODEL", "SHARE"),
                        help="go so far, from 0 to 1, to the weights of another model")
    parser.add_argument("--pairs", help="folder filled by deblur_pairs.py; not with --threshold")
    parser.add_argument("--count", type=int, default=40, help="pictures to look at")
    parser.add_argument("--recall", type=float, default=0.92, help="wanted, of blurred windows")
    parser.add_argument("--threshold", type=float, help="take this one instead of looking for it")
    parser.add_argument("--fade", type=float, nargs=2, metavar=("NOTHING", "ALL"),
                        help="instead of the model's own, see train_deblur.py")
    parser.add_argument("--out", help="safetensors file to write")
    parser.add_argument("--half", action="store_true", help="store matrices and kernels in f16")
    parser.add_argument("--metadata", default="{}", help="JSON; further strings for the file")
    args = parser.parse_args()
    if args.threshold is None and not args.pairs:
        parser.error("--pairs or --threshold")
    torch.set_num_threads(1)
    model, threshold = load(args.model), args.threshold
    if args.mix:
        model = mixed(model, load(args.mix[0]), float(args.mix[1]))
    if threshold is None:
        found, threshold = probabilities(model, deblur_pairs.Pairs(args.pairs), args.count), 0.05
        for t in np.arange(0.05, 0.75, 0.05):
            recall, kept, blurred = rates(found, t)
            print(f"{t:.2f}: recall {recall:.3f}, kept {kept:.3f}, blurred {blurred:.3f}")
            if recall >= args.recall:
                threshold = round(float(t), 2)
    print(f"threshold {threshold}")
    model.config["threshold"] = threshold
    model.config["fade"] = args.fade or model.config["fade"]
    if args.out:
        lmd_vit.save_model(model, args.out, json.loads(args.metadata), half=args.half)


if __name__ == "__main__":
    main()
