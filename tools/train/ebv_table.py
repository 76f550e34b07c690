# SPDX-License-Identifier: MIT
"""Equiangular Basis Vectors: N unit vectors in R^d, as orthogonal to each other as can be.

    python3 tools/train/ebv_table.py --classes 100 --dim 64
"""

import argparse

import numpy as np
import torch


def welch(n, d):
    """No N unit vectors in R^d have a smaller largest |cosine|."""
    return float(np.sqrt((n - d) / (d * (n - 1)))) if n > d else 0.0


def cosines(w):
    """|cosine| of all pairs of rows, the diagonal zero."""
    return (w @ w.t()).abs().fill_diagonal_(0)


def generate(n, d, alpha, seed, steps=20000, lr=1e-2):
    """f32 [n, d]; SGD on the pairs above `alpha`. The best set seen, if alpha is not reached."""
    if n <= d:
        generator = torch.Generator().manual_seed(seed)
        return torch.linalg.qr(torch.randn(d, n, generator=generator))[0].t().contiguous().numpy()
    w = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    best, least = None, 2.0
    for step in range(steps):
        w = w / w.norm(dim=1, keepdim=True)
        c = w @ w.t()
        c.fill_diagonal_(0)
        top = c.abs().max().item()
        if top < least:
            best, least = w.clone(), top
        if top <= alpha + 1e-4:
            break
        rate = lr * (1 - step / steps)
        w = w - rate * 2 * (torch.sign(c) * (c.abs() > alpha)) @ w
    return best.numpy()


def facts(w, seed):
    """What is worth storing beside a table [n, d]."""
    (n, d), c = w.shape, cosines(w)
    return {"classes": n, "dim": d, "seed": seed, "max_cos": round(c.max().item(), 4),
            "mean_cos": round(c.sum().item() / (n * (n - 1)), 4), "welch": round(welch(n, d), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--alpha", type=float, default=0.085)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    w = torch.from_numpy(generate(args.classes, args.dim, args.alpha, args.seed))
    print(facts(w, args.seed))


if __name__ == "__main__":
    main()
