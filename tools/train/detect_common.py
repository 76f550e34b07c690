# SPDX-License-Identifier: MIT
"""What the trainers of a detector share: which parameters are whose, and larger networks from smaller
ones' weights."""

import torch

import classify_common
import retina


def parameter_groups(model):
    """(of Muon, of AdamW), each (the backbone's, the others): Muon has hidden matrices and kernels."""
    hidden, rest = ([], []), ([], [])
    other = ("patch_embed1", "pos_embed", "attn.conv", "retina_")
    for name, p in model.named_parameters():
        small = p.ndim < 2 or any(word in name for word in other)
        (rest if small else hidden)[not name.startswith("backbone")].append(p)
    return hidden, rest


def frozen_statistics(model):
    """Few pictures a step: the classifier's statistics stay."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.eval()


def grown(path, classes, depths=None, channels=None, tower=None):
    """A retina.Retina with a shipped one's weights, which answers as that did though it may have more
    blocks in stage 4, channels, convolutions and classes."""
    old, labels = retina.load_model(path)
    bone = {**old.config["backbone"]}
    was, bone["depths"] = bone["depths"], depths or bone["depths"]
    if was[:3] != bone["depths"][:3]:       # their norms come last: no block there passes on its input
        raise ValueError("only the last stage can get more blocks")
    config = {**old.config, "backbone": bone, "classes": len(classes),
              "channels": channels or old.config["channels"], "tower": tower or old.config["tower"]}
    model = retina.Retina(**config)
    for s in range(1, 5):
        key = f"pos_embed{s}"
        setattr(model.backbone, key, torch.nn.Parameter(getattr(old.backbone, key).detach().clone()))
    model.initialise()
    take(model, old, classes, labels)
    with torch.no_grad():
        for i in range(was[3], bone["depths"][3]):
            classify_common.add_nothing(model.backbone.block4[i], model.backbone.block4[was[3] - 1])
    return model


@torch.no_grad()
def take(model, old, classes, labels):
    """The weights of a detector that was taught some of the same classes, and may be smaller."""
    theirs, own = old.state_dict(), model.state_dict()
    if not theirs.keys() <= own.keys():
        raise ValueError("the network has fewer layers than the weights")
    for key, value in own.items():
        if key.startswith("bbox_head.retina_cls"):
            copy_classes(value, theirs[key], classes, labels)
        elif key in theirs:
            copy_corner(value, theirs[key], key.startswith(("neck", "bbox_head")))
        elif key.startswith("bbox_head") and key.endswith("weight"):
            torch.nn.init.dirac_(value)         # one convolution more: it passes on what it gets


def copy_corner(new, old, wide):
    """Old channels hear the old ones alone."""
    if new.shape == old.shape or not wide:
        new.copy_(old)
        return
    rows = slice(0, old.shape[0])
    if new.ndim == 4:
        new[rows, old.shape[1]:] = 0
        new[rows, :old.shape[1]] = old
    else:
        new[rows] = old


def copy_classes(new, old, classes, labels):
    common = [name for name in labels if name in classes]
    ours, theirs = ([names.index(name) for name in common] for names in (classes, labels))
    rows = new.view(-1, len(classes), *new.shape[1:])
    rows = rows[:, :, :old.shape[1]] if new.ndim == 4 else rows
    if new.ndim == 4:
        new[:, old.shape[1]:] = 0
    rows[:, ours] = old.view(-1, len(labels), *old.shape[1:])[:, theirs]

