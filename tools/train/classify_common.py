# SPDX-License-Identifier: MIT
"""What every trainer of a classifier begins with: first weights, and which of them Muon takes."""

import torch


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


def is_hidden(name, p):
    """Muon takes matrices and kernels between hidden features; AdamW the rest."""
    other = ("patch_embed1", "pos_embed", "cls_token", "attn.conv", "head.", "directions")
    return p.ndim >= 2 and not name.startswith(other) and "attn.conv" not in name
