# SPDX-License-Identifier: MIT
"""RetinaNet on SOFT in PyTorch: the reference for golden tensors, and the trainer's network.

Tensor names are those of mmdetection 2.x. Levels P3 to P7; maps are [B, C, h, w] inside and
[B, h, w, C] outside, where channel a*K + k is class k of anchor a, and a*4 + j delta j.
"""

import json
import math
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import safetensors  # noqa: E402 (the plain one beside this file)
import soft  # noqa: E402

DEFAULTS = {"channels": 256, "tower": 4, "anchor_scale": 4, "scales": 3, "ratios": [0.5, 1, 2],
            "strides": [8, 16, 32, 64, 128], "image": [1333, 800]}
LEVELS = ("P3", "P4", "P5", "P6", "P7")
LONGEST = math.log(1000 / 16)       # of dw and dh
PRIOR = 0.01                        # of a class, at the start of training


def full_config(config):
    """Adds the defaults; refuses unknown or missing keys."""
    unknown = set(config) - set(DEFAULTS) - {"backbone", "classes"}
    if unknown or not {"backbone", "classes"} <= set(config):
        raise ValueError(f"configuration: unknown {sorted(unknown)}, or no backbone, or no classes")
    return {**DEFAULTS, **config}


class Conv(nn.Module):
    """A convolution under the name that mmdetection's ConvModule gives it."""

    def __init__(self, a, b, side, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(a, b, side, stride, side // 2)

    def forward(self, x):
        return self.conv(x)


class Neck(nn.Module):
    """The feature pyramid: no norm and no activation anywhere."""

    def __init__(self, dims, channels):
        super().__init__()
        self.lateral_convs = nn.ModuleList(Conv(c, channels, 1) for c in dims)
        self.fpn_convs = nn.ModuleList([Conv(channels, channels, 3) for _ in dims]
                                       + [Conv(dims[-1], channels, 3, 2),
                                          Conv(channels, channels, 3, 2)])

    def forward(self, stages):
        lateral = [conv(x) for conv, x in zip(self.lateral_convs, stages)]
        for i in (1, 0):
            lateral[i] = lateral[i] + F.interpolate(lateral[i + 1], lateral[i].shape[2:])
        levels = [conv(x) for conv, x in zip(self.fpn_convs, lateral)]
        levels.append(self.fpn_convs[3](stages[-1]))
        levels.append(self.fpn_convs[4](levels[-1]))
        return levels


class Head(nn.Module):
    """Two towers and their last convolutions, shared by all levels."""

    def __init__(self, channels, tower, anchors, classes):
        super().__init__()
        for name, width in (("cls", anchors * classes), ("reg", anchors * 4)):
            convs = [Conv(channels, channels, 3) for _ in range(tower)]
            self.add_module(f"{name}_convs", nn.ModuleList(convs))
            self.add_module(f"retina_{name}", nn.Conv2d(channels, width, 3, padding=1))

    def tower(self, name, x):
        for conv in getattr(self, f"{name}_convs"):
            x = F.relu(conv(x))
        return getattr(self, f"retina_{name}")(x)

    def forward(self, x):
        return self.tower("cls", x), self.tower("reg", x)


class Retina(nn.Module):
    def __init__(self, base=None, **config):
        """`base`: side of the picture whose maps the position embeddings have."""
        super().__init__()
        self.config = config = full_config(config)
        anchors = config["scales"] * len(config["ratios"])
        backbone = {"class_token": False, "head": "none", "classes": 0, **config["backbone"]}
        self.backbone = soft.Soft(base, **backbone)
        self.neck = Neck(backbone["dims"][1:], config["channels"])
        self.bbox_head = Head(config["channels"], config["tower"], anchors, config["classes"])

    def initialise(self):
        """As the paper has it; the backbone stays as it is."""
        for name, p in self.named_parameters():
            if name.startswith("neck") and p.ndim == 4:
                nn.init.xavier_uniform_(p)
            elif name.startswith("bbox_head") and p.ndim == 4:
                nn.init.normal_(p, 0, 0.01)
            elif not name.startswith("backbone"):
                nn.init.zeros_(p)
        nn.init.constant_(self.bbox_head.retina_cls.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, x):
        """x [B, 3, H, W], normalised -> {"cls_P3": [B, h, w, A*K], "reg_P3": [B, h, w, A*4], ...}"""
        stages = []
        for s in (1, 2, 3, 4):
            x, _ = self.backbone.stage(x, s)
            stages.append(x)
        out = {}
        for level, y in zip(LEVELS, self.neck(stages[1:])):
            for name, z in zip(("cls", "reg"), self.bbox_head(y)):
                out[f"{name}_{level}"] = z.permute(0, 2, 3, 1)
        return out


# ---- anchors and boxes

def base_anchors(config, level):
    """f32 [A, 2]: widths and heights of the anchors of a level, ratio by ratio."""
    sides = []
    for ratio in config["ratios"]:
        for i in range(config["scales"]):
            side = config["strides"][level] * config["anchor_scale"] * 2 ** (i / config["scales"])
            sides.append((side / math.sqrt(ratio), side * math.sqrt(ratio)))
    return torch.tensor(sides, dtype=torch.float64).float()


def anchors(config, level, h, w):
    """f32 [h*w*A, 4]: cx, cy, width, height; row by row, then column, then anchor."""
    sides, stride = base_anchors(config, level), config["strides"][level]
    y, x = torch.meshgrid(torch.arange(h) * stride, torch.arange(w) * stride, indexing="ij")
    centres = torch.stack([x, y], -1).float().view(h * w, 1, 2).expand(-1, len(sides), -1)
    return torch.cat([centres, sides.expand(h * w, -1, -1)], -1).reshape(-1, 4)


def decode(anchor, delta):
    """[n, 4] and [n, 4] -> corners [n, 4], not clipped."""
    centre = anchor[:, :2] + delta[:, :2] * anchor[:, 2:]
    half = anchor[:, 2:] * delta[:, 2:].clamp(-LONGEST, LONGEST).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


def candidates(config, out, extent, threshold=0.05, limit=1000):
    """Per level (rows f32 [n, 6]): corners clipped to `extent` (W, H), score, class; best first,
    equal scores in the order of their places. `out`: of one picture, without the batch."""
    found = []
    for i, level in enumerate(LEVELS):
        cls, reg = out[f"cls_{level}"], out[f"reg_{level}"]
        scores = cls.reshape(-1).sigmoid()
        best = torch.argsort(scores, descending=True, stable=True)[:limit]
        best = best[scores[best] > threshold]
        place = torch.div(best, config["classes"], rounding_mode="floor")
        boxes = decode(anchors(config, i, *cls.shape[:2])[place], reg.reshape(-1, 4)[place])
        boxes[:, 0::2] = boxes[:, 0::2].clamp(0, extent[0])
        boxes[:, 1::2] = boxes[:, 1::2].clamp(0, extent[1])
        rows = [boxes, scores[best, None], (best % config["classes"]).float()[:, None]]
        found.append(torch.cat(rows, 1))
    return found


# ---- files

def load_model(path):
    """(the network of a safetensors file, in eval mode, f32; its labels)"""
    tensors, metadata = safetensors.load(path)
    model = Retina(**json.loads(metadata["config"]))
    for s in range(1, 5):       # the file's base grids, whatever its `image` is
        key = f"backbone.pos_embed{s}"
        setattr(model.backbone, key[9:], nn.Parameter(torch.zeros(tensors[key].shape)))
    model.load_state_dict({k: torch.from_numpy(np.array(tensors[k], np.float32))
                           for k in model.state_dict() if not k.endswith("num_batches_tracked")},
                          strict=False)
    return model.eval(), json.loads(metadata.get("labels", "[]"))


def save_model(model, path, metadata=None, state=None, half=False):
    """`half`: matrices and kernels are stored in f16."""
    tensors = {}
    for key, value in (state or model.state_dict()).items():
        if not key.endswith("num_batches_tracked"):
            value = value.detach().to(torch.float32).numpy()
            tensors[key] = value.astype(np.float16) if half and value.ndim > 1 else value
    config = {k: v for k, v in model.config.items() if v != DEFAULTS.get(k)}
    safetensors.save(path, tensors, {"architecture": "soft-retinanet",
                                     "config": json.dumps(config), **(metadata or {})})
