# SPDX-License-Identifier: MIT
"""A larger LMD-ViT that answers as a smaller one does, to be trained on from there."""

import torch

import lmd_vit


def grow(model, smaller, seed=0):
    """Gives `model` the weights of a network with fewer blocks in some layers, or half the channels
    and heads, or both. The output stays what it was, up to what a copied predictor now says of a
    rolled map."""
    width, own = (net.config["embed_dim"] for net in (smaller, model))
    if own == 2 * width:
        smaller = twice_as_wide(smaller, seed)
    elif own != width:
        raise ValueError(f"{own} channels cannot be grown from {width}: the same, or twice as many")
    model.load_state_dict(with_blocks(model, smaller))


def with_blocks(model, smaller):
    """A block that the smaller one has not is a copy of the layer's last one but for its results,
    which start at zero."""
    state = smaller.state_dict()
    for name, layer in model.layers():
        given = getattr(smaller, name).blocks
        for i in range(len(given), len(layer.blocks)):
            source = given[-1].state_dict()
            for key in layer.blocks[i].state_dict():
                zero = key.startswith(("attn.proj", "mlp.linear2"))
                state[f"{name}.blocks.{i}.{key}"] = source[key] * (0 if zero else 1)
    return state


def twice_as_wide(model, seed=0):
    """Every channel and every head stands twice, and who hears them takes a random share of either
    (Net2WiderNet: Chen, Goodfellow, Shlens, ICLR 2016). As all are doubled, LayerNorm's statistics
    stay what they were."""
    config = model.config
    wide = lmd_vit.LmdVit(**{**config, "embed_dim": 2 * config["embed_dim"],
                             "heads": [2 * n for n in config["heads"]]})
    random = torch.Generator().manual_seed(seed)
    heads = {name: width // n for (name, _), width, n in zip(model.layers(), model.widths(),
                                                             config["heads"])}
    wide.load_state_dict({key: widened(key, w, heads.get(key.split(".")[0]), random)
                          for key, w in model.state_dict().items()})
    return wide


def widened(key, w, head, random):
    """A weight [results, ...] or [results, inputs, ...] of a layer whose heads are so wide. Heads
    stand twice as a whole, or the widths of all of them would change."""
    if key.startswith("upsample") and w.ndim > 1:       # [inputs, results, 2, 2]
        return shared(doubled(w.transpose(0, 1)), random).transpose(0, 1)
    if "modulator" in key or "relative_position" in key:
        return doubled(w.transpose(0, 1)).transpose(0, 1)
    if not key.startswith("output_proj") and "out_conv.4" not in key:
        w = doubled(w, head if "qkv" in key else 1)
    if w.ndim == 1 or "dwconv" in key or key.startswith("input_proj"):
        return w
    return shared(w, random, head if "attn.proj" in key else 1)


def doubled(w, block=1):
    """[n, ...] -> [2n, ...]: each block of rows twice."""
    return w.reshape(-1, 1, block, *w.shape[1:]).expand(-1, 2, -1, *w.shape[1:]).reshape(
        2 * w.shape[0], *w.shape[1:])


def shared(w, random, block=1):
    """[m, n, ...] -> [m, 2n, ...]: each block of columns twice, each pair adding up to what it was."""
    m, n = w.shape[:2]
    share = 0.25 + 0.5 * torch.rand(m, n, generator=random)
    first = w * share.view(m, n, *[1] * (w.ndim - 2))
    pairs = torch.stack([part.reshape(m, -1, block, *w.shape[2:]) for part in (first, w - first)], 2)
    return pairs.reshape(m, 2 * n, *w.shape[2:])
