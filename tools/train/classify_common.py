# SPDX-License-Identifier: MIT
"""What every trainer of a classifier begins with: first weights, also those of a smaller network, and
which of them Muon takes."""

import math

import torch

import soft


def initialise(model):
    """Sizes at which the Gaussian kernels neither vanish nor are all one."""
    for name, p in model.named_parameters():
        if name.startswith(("pos_embed", "cls_token")):
            torch.nn.init.normal_(p, 0, 0.05)
        elif name.endswith("Qnorm_act.0.weight"):
            torch.nn.init.constant_(p, 0.5)
        elif name.endswith("attn.conv.weight"):
            torch.nn.init.normal_(p, 0, 0.5 / p.shape[-1])
        elif "proj" in name and p.ndim == 4:
            torch.nn.init.kaiming_normal_(p, nonlinearity="relu")
        elif name == "head.weight" and model.config["head"] == "linear":
            torch.nn.init.normal_(p, 0, 0.01)
        elif p.ndim == 2 and "directions" not in name:
            torch.nn.init.xavier_uniform_(p)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(p)


@torch.no_grad()
def take(model, old):
    """A trained network's weights, so that `model` answers as that does. It may have more blocks in
    stage 4, more dimensions of the embedding, and another size of picture than the old one."""
    theirs = old.state_dict()
    for key, value in model.state_dict().items():
        if key.startswith("pos_embed"):
            copy_positions(value, theirs[key])
        elif key in ("head.weight", "head.bias", "directions"):
            value.zero_()[tuple(map(slice, theirs[key].shape))] = theirs[key]
        elif key in theirs:
            value.copy_(theirs[key])
    last = len(old.block4) - 1
    for block in model.block4[last + 1:]:
        add_nothing(block, model.block4[last])


def copy_positions(new, old):
    """[1, side * side, C], or one row more, the class token's, before them."""
    own = old.shape[1] - math.isqrt(old.shape[1]) ** 2
    side = math.isqrt(new.shape[1])
    new[:, :own] = old[:, :own]
    new[:, own:] = soft.resized_positions(old[:, own:], side, side)


def add_nothing(block, like):
    """Makes a block of stage 4 a copy of another whose branches add nothing."""
    block.load_state_dict(like.state_dict())
    for layer in (block.attn.proj, block.mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)


def is_hidden(name, p):
    """Muon takes matrices and kernels between hidden features; AdamW the rest."""
    other = ("patch_embed1", "pos_embed", "cls_token", "attn.conv", "head.", "directions")
    return p.ndim >= 2 and not name.startswith(other) and "attn.conv" not in name
