# SPDX-License-Identifier: MIT
"""Writes the small PyTorch checkpoints of tests/data/pth/, whose values follow known formulas.

Element i of a tensor with seed s, counted in C order, is ((i * 7 + s) % 23 - 11) / 4: exact in
every floating type. Integer tensors hold (i * 7 + s) % 23 - 11.

    python3 tools/golden/pth.py tests/data/pth
"""

import argparse
import collections
import os
import sys
import zipfile

import numpy as np
import torch


def numbers(shape, seed):
    count = int(np.prod(shape, dtype=np.int64))
    return (torch.arange(count) * 7 + seed) % 23 - 11


def floats(shape, seed, dtype=torch.float32):
    return (numbers(shape, seed).to(torch.float64) / 4).to(dtype).reshape(shape)


def integers(shape, seed, dtype):
    return numbers(shape, seed).to(dtype).reshape(shape)


def plain():
    return collections.OrderedDict(
        [("conv.weight", floats((4, 3, 3, 3), 1)), ("conv.bias", floats((4,), 2)),
         ("scalar", floats((), 3)), ("empty", floats((0, 5), 4))])


def nested():
    return {"epoch": 3, "state_dict": {"module." + k: v for k, v in plain().items()}}


def training():
    """What a training script leaves: arguments, an optimizer, two sets of weights, odds and ends."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    ema = collections.OrderedDict(weight=floats((2, 3), 5), bias=floats((2,), 6))
    return {"args": argparse.Namespace(lr=1e-3, name="x", betas=(0.9, 0.99), steps=[1, 2], big=1 << 80),
            "optimizer": optimizer.state_dict(), "best": np.float64(31.5), "date": None,
            "state_dict": model.state_dict(), "state_dict_ema": ema, "tags": {"a", "b"},
            "raw": bytes(range(256)), "device": torch.device("cpu"), "size": torch.Size([1, 2])}


def detector():
    """As mmdetection leaves it, the optimizer's states and odds and ends included."""
    momentum = {0: {"momentum_buffer": floats((2, 3), 20)}, 1: {"momentum_buffer": None}}
    groups = [{"lr": 0.01, "betas": (0.9, 0.999), "params": [0, 1]}]
    meta = {"epoch": 12, "iter": 87960, "CLASSES": ("person", "café \"bar\"", "自転車"),
            "env_info": "sys.platform: linux\n", "hook_msgs": {}, "PALETTE": [(220, 20, 60)]}
    return {"meta": meta, "state_dict": collections.OrderedDict(weight=floats((2, 3), 21)),
            "optimizer": {"state": momentum, "param_groups": groups}}


def strided():
    base = floats((6, 8), 7)
    return {"transposed": base.t(), "slice": base[1:5:2, 2:7:3], "row": base[3], "whole": base,
            "expanded": floats((1, 4), 8).expand(5, 4), "permuted": floats((2, 3, 4), 9).permute(2, 0, 1),
            "parameter": torch.nn.Parameter(floats((3, 2), 10))}


def typed():
    state = {"half": floats((5, 3), 11, torch.float16), "bf16": floats((5, 3), 12, torch.bfloat16),
             "double": floats((5, 3), 13, torch.float64), "bool": integers((5, 3), 14, torch.int64) > 0}
    for seed, name in enumerate(("int8", "int16", "int32", "int64"), 15):
        state[name] = integers((5, 3), seed, getattr(torch, name))
    return state


def repack(source, target, order=None):
    """The same members deflated, as other tools write them, and with a byte order if asked."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
        if order:
            root = old.namelist()[0].split("/")[0]
            new.writestr(zipfile.ZipInfo(root + "/byteorder"), order)


def main():
    torch.manual_seed(1)
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, content in (("plain", plain()), ("nested", nested()), ("training", training()),
                          ("strided", strided()), ("detector", detector()), ("typed", typed())):
        torch.save(content, os.path.join(folder, name + ".pth"))
    torch.save(plain(), os.path.join(folder, "protocol4.pth"), pickle_protocol=4)
    torch.save(plain(), os.path.join(folder, "legacy.pth"), _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "model": "none"}, os.path.join(folder, "no-tensors.pth"))
    source = os.path.join(folder, "plain.pth")
    repack(source, os.path.join(folder, "deflated.pth"), "little")
    repack(source, os.path.join(folder, "big-endian.pth"), "big")


if __name__ == "__main__":
    main()
