# SPDX-License-Identifier: MIT
"""Writes the detector to ship from a checkpoint of train_detect.py: averaged weights, labels."""

import argparse
import datetime
import json
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import retina  # noqa: E402


def kept_classes(state, config, labels, kept):
    """Only the classes `kept` of the last convolution; (state, config)."""
    anchors = config["scales"] * len(config["ratios"])
    places = [labels.index(name) for name in kept]
    rows = torch.tensor([a * len(labels) + k for a in range(anchors) for k in places])
    state = {k: v[rows] if k.startswith("bbox_head.retina_cls") else v for k, v in state.items()}
    return state, {**config, "classes": len(kept)}


def shifted(state, labels, shifts):
    """Adds to the logits of classes, which moves their scores and leaves their order as it is: for
    those that were looked for in few pictures, and so learned from few what they are not."""
    bias = state["bbox_head.retina_cls.bias"].clone()
    for name, value in shifts:
        bias.view(-1, len(labels))[:, labels.index(name)] += value
    return {**state, "bbox_head.retina_cls.bias": bias}


def shift(text):
    """'raccoon:-0.8' -> ("raccoon", -0.8)"""
    name, value = text.rsplit(":", 1)
    return name, float(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="default: all it was taught")
    parser.add_argument("--shift", nargs="+", type=shift, default=[], metavar="NAME:LOGITS",
                        help="make a class surer or less sure")
    parser.add_argument("--score", type=float, default=0.3, help="above which objects are shown")
    parser.add_argument("--half", action="store_true", help="matrices and kernels in f16")
    parser.add_argument("--trained-on", default="annotated photographs")
    args = parser.parse_args()
    c = torch.load(args.checkpoint, map_location="cpu")
    labels = c["args"]["classes"]
    kept = args.classes or labels
    state = shifted(c["ema"], labels, args.shift)
    state, config = kept_classes(state, c["config"], labels, kept)
    model = retina.Retina(**config)
    model.load_state_dict(state)
    name = os.path.splitext(os.path.basename(args.out))[0]
    provenance = f"trained with tools/train on {args.trained_on}, {c['step']} steps, " \
                 f"{c['pictures']} pictures, seed {c['args']['seed']}, {datetime.date.today()}"
    retina.save_model(model, args.out, {
        "name": name, "license": "MIT", "provenance": provenance, "labels": json.dumps(kept),
        "resize": "area", "score": f"{args.score:g}"}, half=args.half)
    print(f"{args.out}: step {c['step']}, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
