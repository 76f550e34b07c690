# SPDX-License-Identifier: MIT
"""What the trainers of LMD-ViT share, on a CPU or a graphics card: first weights, labels, schedule."""

import torch
from torch.nn import functional as F


def initialise(model):
    """Small last layer (the network starts as the identity), small modulators."""
    for name, p in model.named_parameters():
        if name.startswith("output_proj"):
            p.data.mul_(0.3)
        elif "modulator" in name:
            torch.nn.init.normal_(p, 0, 0.02)
        elif p.ndim == 2 and "relative_position" not in name:
            torch.nn.init.xavier_uniform_(p)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(p)


def grow(model, smaller):
    """Takes the weights of a network with fewer blocks in some layers. A block that it has not is a
    copy of the layer's last one but for its results, which start at zero: the output stays what it
    was, up to what a copied predictor now says of a rolled map."""
    state = smaller.state_dict()
    for name, layer in model.layers():
        given = getattr(smaller, name).blocks
        for i in range(len(given), len(layer.blocks)):
            source = given[-1].state_dict()
            for key in layer.blocks[i].state_dict():
                zero = key.startswith(("attn.proj", "mlp.linear2"))
                state[f"{name}.blocks.{i}.{key}"] = source[key] * (0 if zero else 1)
    model.load_state_dict(state)


def window_labels(mask, block, level, unshuffle):
    """[B, h, w] in {0, 1}: the block's windows with any pixel of mask [B, H, W] in them."""
    scale = unshuffle << level
    if block.shift:
        mask = torch.roll(mask, (-block.shift * scale,) * 2, (1, 2))
    return F.max_pool2d(mask[:, None], block.w * scale)[:, 0]


def levels(model):
    """{layer name: level of its map}."""
    return dict(zip((name for name, _ in model.layers()), model.levels()))


def outside_unit(progress, lenient):
    """Mean square outside the blur from which on change is dear: 30 dB at first, so that the
    network dares to leave the identity, 40 dB once the share `lenient` of the time is over."""
    return 10 ** -(3.0 + min(progress / max(lenient, 1e-9), 1.0))
