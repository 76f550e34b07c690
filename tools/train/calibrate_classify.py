# SPDX-License-Identifier: MIT
"""From a training checkpoint to a model file to ship: labels, temperature, rejection statistics.

Means, covariance and shrinkage come from the training pictures. Temperature, the fusion of layers
and the quantiles come from one half of base/val (the pictures of each class alternately), the
fusion's unknowns are the novel classes' support pictures; tools/eval/classify.py measures on the
other half and on the novel classes' query pictures.
"""

import argparse
import datetime
import json
import os
import sys

import numpy as np
import torch
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "eval")]
import ebv_table  # noqa: E402
import features as pictures_of  # noqa: E402
import reject  # noqa: E402
import soft  # noqa: E402
import train_classify  # noqa: E402

QUANTILES = 1001


def averaged(path):
    """(model with the averaged weights, step, seed) of a checkpoint of a trainer of classifiers."""
    c = torch.load(path, map_location="cpu")
    args = argparse.Namespace(**{**c["args"], "plain": True})
    if "config" in c:       # train_classify_card.py says what it trained
        model = soft.Soft(**c["config"])
    else:
        model = train_classify.network(args).to(memory_format=torch.contiguous_format)
    model.load_state_dict(c["ema"])
    if c["scale"] is not None:
        model.config["scale"] = float(c["scale"].exp())
    if model.config["head"] != "linear":
        model.directions.data = F.normalize(model.directions.data, dim=1)
    return model.eval(), c["step"], args.seed


def temperature(logits, labels):
    """The divisor of the logits with the least cross-entropy."""
    logits, labels = torch.from_numpy(logits), torch.from_numpy(labels)
    steps = np.exp(np.linspace(np.log(0.2), np.log(3), 500))
    losses = [F.cross_entropy(logits / float(t), labels).item() for t in steps]
    return round(float(steps[int(np.argmin(losses))]), 3)


def round_to_half(model):
    """What storing matrices and kernels in f16 makes of the weights."""
    for name, p in model.state_dict().items():
        if p.ndim > 1 and name != "directions":
            p.copy_(p.half().float())


def cosine_confidence(answers, classes):
    """The largest cosine of an embedding with a class direction; linear heads: a class mean."""
    e = answers["embedding"]
    return (e / np.linalg.norm(e, axis=1, keepdims=True) @ classes.T).max(1)


def rejection(engine, data, layers, every):
    """({tensor: f32 array}, metadata "reject", temperature) of a model."""
    train, labels = data.labelled("base-train")
    train, labels = train[::every], labels[::every]
    answers = pictures_of.of(engine, train)
    classes, tensors, shrinkage = engine.config["classes"], {}, []
    for layer in layers:
        means, covariance, g = reject.statistics(answers[layer], labels, classes)
        tensors[f"reject.{layer}.means"] = means.astype(np.float32)
        tensors[f"reject.{layer}.covariance"] = covariance.astype(np.float32)
        shrinkage.append(g)
    val, val_labels = data.labelled("base-val")
    half, _ = pictures_of.halves(val_labels)
    known = pictures_of.of(engine, [val[i] for i in half])
    unknown = pictures_of.of(engine, data.labelled("novel-support")[0])
    found = {"layers": list(layers), "shrinkage": shrinkage}
    scores = [reject.layer_scores(a, (tensors, found)) for a in (known, unknown)]
    bias, weights = reject.fit_fusion(*scores)
    fused = [reject.fused(s, bias, weights) for s in scores]
    directions = getattr(engine.model, "directions", None)
    if directions is None:
        m = np.stack([answers["embedding"][labels == c].mean(0) for c in range(classes)])
        directions = m / np.linalg.norm(m, axis=1, keepdims=True)
    else:
        directions = directions.detach().numpy()
    cosine = [cosine_confidence(a, directions) for a in (known, unknown)]
    areas = {"mahalanobis": reject.auroc(*fused), "cosine": reject.auroc(*cosine)}
    best = max(areas, key=areas.get)
    if engine.config["head"] == "linear":
        best = "mahalanobis"        # a cosine needs directions in the file
    found.update(weights=[float(w) for w in weights], bias=bias, count=len(labels), score=best)
    surest = fused[0] if best == "mahalanobis" else cosine[0]
    tensors["reject.quantiles"] = np.quantile(
        surest, np.linspace(0, 1, QUANTILES)).astype(np.float32)
    print(f"AUROC against novel support pictures: {areas}; chosen: {best}")
    for layer, known_scores, unknown_scores in zip(layers, scores[0].T, scores[1].T):
        print(f"  {layer} alone: {reject.auroc(known_scores, unknown_scores):.3f}")
    return tensors, found, temperature(known["logits"], val_labels[half])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--layers", nargs="+", default=list(reject.LAYERS))
    parser.add_argument("--image", type=int, default=64, help="side of the crop in use")
    parser.add_argument("--resize", type=int, default=64, help="short side before the crop")
    parser.add_argument("--mirror", action="store_true", help="to be seen from both sides in use")
    parser.add_argument("--half", action="store_true", help="matrices and kernels in f16")
    parser.add_argument("--every", type=int, default=1, help="of the training pictures; a preview")
    args = parser.parse_args()
    model, step, seed = averaged(args.checkpoint)
    if args.half:
        round_to_half(model)
    model.config.update(image=args.image, resize=args.resize, mirror=args.mirror)
    data = pictures_of.Data(args.data)
    engine = pictures_of.TorchEngine(model=model)
    tensors, found, divisor = rejection(engine, data, args.layers, args.every)
    model.config["temperature"] = divisor
    name = os.path.splitext(os.path.basename(args.out))[0]
    provenance = (f"trained from scratch with tools/train on 64-pixel photographs, {step} steps, "
                  f"seed {seed}, {datetime.date.today().isoformat()}")
    metadata = {"name": name, "license": "MIT", "provenance": provenance,
                "labels": json.dumps(data.names["base"]), "reject": json.dumps(found)}
    if model.config["head"] == "ebv":
        metadata["ebv"] = json.dumps(ebv_table.facts(model.directions.detach(), seed))
    soft.save_model(model, args.out, metadata, extra=tensors, half=args.half)
    print(f"{args.out}: step {step}, temperature {divisor}, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
