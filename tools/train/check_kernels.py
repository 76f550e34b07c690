# SPDX-License-Identifier: MIT
"""Compares the training kernels with PyTorch's own in f32: results and gradients of blocks and
predictors, all windows and some, maps of odd shapes; the focal loss of surest and of doubtful
logits. Exit status 1 where one is too far off."""

import os
import sys

import blas

blas.settle(threads=1)

import torch  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import detect_loss  # noqa: E402
import kernels  # noqa: E402
import lmd_vit  # noqa: E402

CONFIG = {"unshuffle": 2, "embed_dim": 24, "depths": [1, 2, 3, 2, 2], "heads": [1, 2, 4, 4, 2]}
SHAPES = [(2, 32, 48), (1, 24, 40), (3, 8, 8), (1, 16, 56)]    # of maps
FAR = 0.05      # of bf16, which has eight bits
FAR_F32 = 1e-5


def network():
    torch.manual_seed(1)
    model = lmd_vit.LmdVit(**CONFIG)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.3 / max(p.shape[-1], 4) ** 0.5)
        if p.ndim == 1 and p.numel() > 2:
            p.data.add_(0.5)
    return model


def run(function, module, x, dy):
    """{name: result or gradient}; the result and the input's gradient less what passes through."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(dy)
    through = y.shape == x.shape
    return {"y": (y - x if through else y).detach(), "dx": x.grad - dy if through else x.grad,
            **{n: p.grad for n, p in module.named_parameters() if p.grad is not None}}


def farthest(got, wanted):
    """(relative deviation, name) of the worst."""
    if got.keys() != wanted.keys():
        return 1.0, f"other gradients: {sorted(got.keys() ^ wanted.keys())}"
    return max(((got[k] - wanted[k]).norm().item() / (wanted[k].norm().item() + 1e-9), k)
               for k in wanted)


def block_of(net, block, some):
    """x -> the block's result, with two windows of three kept if only `some` are."""
    def function(x):
        count = x.shape[1] // 8, x.shape[2] // 8
        keep = torch.arange(x.shape[0] * count[0] * count[1]) % 3 > 0
        return net.run_block(block, x, keep.view(-1, *count) if some else None)
    return function


def cases(plain, quick):
    """(what, function of the kernels, of PyTorch, their modules, channels of x, of the result)"""
    for name, layer in plain.layers():
        for i, block in enumerate(layer.blocks):
            other = getattr(quick, name).blocks[i]
            c = block.norm1.weight.numel()
            for some in (False, True):
                yield (f"{name}.{i}{' some' if some else ''}", block_of(quick, other, some),
                       block_of(plain, block, some), (other, block), c, c)
            if block.score_predictor is not None:
                yield (f"{name}.{i} predictor",
                       lambda x, p=other.score_predictor: quick.score_tokens(p, x),
                       lambda x, p=block.score_predictor: plain.score_tokens(p, x),
                       (other.score_predictor, block.score_predictor), c, 2)


def focal_deviation(spread):
    """Of the focal loss and its gradient, for logits of that deviation."""
    x = (spread * torch.randn(3, 5000, 7)).requires_grad_()
    target, weight = (torch.rand(x.shape) < 0.1).float(), (torch.rand(x.shape) < 0.8).float()
    found = []
    for function in (detect_loss.focal, detect_loss.plain_focal):
        x.grad = None
        loss = function(x, target, weight)
        (3 * loss).backward()
        found.append({"loss": loss.detach(), "dx": x.grad})
    return farthest(*found)


def check_focal():
    """Whether it failed."""
    far = max(focal_deviation(spread) for spread in (0.1, 1.0, 5.0, 40.0))
    print(f"focal loss\n  {far[0]:.2e} ({far[1]}){'' if far[0] < FAR_F32 else ' TOO FAR'}")
    return not far[0] < FAR_F32


def main():
    failed = check_focal()
    for whole in (True, False):
        plain, quick = network(), network()
        kernels.install(quick, whole)
        print("whole blocks" if whole else "pieces")
        for what, ours, theirs, modules, c, out in cases(plain, quick):
            far = (0.0, "")
            for shape in SHAPES:
                x, dy = torch.randn(*shape, c), torch.randn(*shape, out) + 0.3
                far = max(far, farthest(run(ours, modules[0], x, dy),
                                        run(theirs, modules[1], x, dy)))
            failed |= not far[0] < FAR
            print(f"  {what:28s} {far[0]:.4f} ({far[1]}){'' if far[0] < FAR else ' TOO FAR'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
