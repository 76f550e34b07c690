# SPDX-License-Identifier: MIT
"""Holds soft_card.py, on any device, to soft.py on the CPU: features and gradients in f32, with
landmarks by ratio as the classifier has them and with a fixed number as the detector has."""

import argparse
import copy
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import card  # noqa: E402
import classify_common  # noqa: E402
import soft  # noqa: E402
import soft_card  # noqa: E402

NETWORK = {"dims": [32, 64, 128, 192], "heads": [1, 2, 4, 6], "depths": [1, 2, 3, 1], "classes": 10,
           "inverse": "norm", "ratios": [6, 3, 2], "kernels": [5, 5, 3], "stem": 16, "image": 96,
           "resize": 108, "head": "none"}


def results(model, x, by):
    """(the last features, gradients of their sum weighted by `by`), on the CPU."""
    for s in (1, 2, 3, 4):
        x, _ = model.stage(x, s)
    (x * by).sum().backward()
    return x.detach().cpu(), {k: p.grad.cpu() for k, p in model.named_parameters()
                              if p.grad is not None}


def distance(a, b):
    return ((a - b).norm() / b.norm().clamp(min=1e-9)).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    card.settle(1)
    fine = True
    for landmarks in ("ratio", 16):
        model = soft.Soft(**NETWORK, landmarks=landmarks, class_token=landmarks == "ratio")
        classify_common.initialise(model)
        ours = copy.deepcopy(model)
        soft_card.install(ours, 0.0)
        ours = copy.deepcopy(ours).to(args.device)      # as averaged weights are made
        x, by = torch.randn(4, 3, 96, 96), torch.randn(4, 192, 3, 3)
        y, gradients = results(model, x, by)
        own, own_gradients = results(ours, x.to(args.device), by.to(args.device))
        worst = max((distance(own_gradients[k], v), k) for k, v in gradients.items()
                    if v.norm() > 1e-3)         # a bias before a norm has none
        print(f"landmarks {landmarks}: features {distance(own, y):.2g} away, gradients at most "
              f"{worst[0]:.2g}, {worst[1]}", flush=True)
        fine &= distance(own, y) < 1e-3 and worst[0] < 2e-2
    print("alike" if fine else "NOT ALIKE")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
