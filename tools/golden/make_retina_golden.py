# SPDX-License-Identifier: MIT
"""Writes the golden tensors of RetinaNet on SOFT under tests/data/golden.

    python3 tools/golden/make_retina_golden.py

Small models come with their weights: MODEL.safetensors, and MODEL.CASE.safetensors with

    input                   uint8 [H, W, 3]; the network sees (input / 255 - mean) / std
    extent                  f32 [2]: width and height that boxes are clipped to
    cls_P3 .. reg_P7        int16 [h, w, C]; a value is low + (q + 32768) / 65535 * (high - low)
    cls_P3.range ..         f32 [2]: low, high
    rows_P3 .. rows_P7      f32 [n, 6]: the best boxes, corners, score, class; the metadata has
                            `threshold` and `limit`

No score is nearer than MARGIN to the threshold, and the best one that was left out is as far from
the last that was kept. Of the full-size Tiny model with 80 classes only answers are stored,
retina-tiny.CASE: weights and picture follow from names and shapes by the rule in generated.py. The
metadata has `config`, `tensors` (JSON, {name: shape}), `height`, `width`; each map holds, f32,
every 97th element in row-major order. Results are computed in f64.
"""

import json
import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import generated  # noqa: E402
import make_golden  # noqa: E402
import make_soft_golden  # noqa: E402
import retina  # noqa: E402
import safetensors  # noqa: E402
import soft  # noqa: E402

OUT = make_golden.OUT
STRIDE = make_soft_golden.STRIDE
MARGIN = 2e-5
MADE_BY = {"made_by": "tools/golden/make_retina_golden.py"}
SMALL = {"depths": [1, 1, 1, 1], "stem": 8, "image": 64, "classes": 0, "head": "none"}
MODELS = {
    "retina-plain": {"backbone": dict(SMALL, dims=[32, 32, 64, 32], heads=[1, 1, 2, 1],
                                      ratios=[3, 2, 1], kernels=[5, 3, 3], inverse="soft"),
                     "classes": 5, "channels": 24, "tower": 1, "image": [160, 96]},
    "retina-norm": {"backbone": dict(SMALL, dims=[32, 32, 32, 64], heads=[1, 1, 1, 2],
                                     ratios=[4, 2, 1], kernels=[5, 5, 3], inverse="norm",
                                     landmarks=16, class_token=True),
                    "classes": 1, "channels": 16, "tower": 4, "image": [320, 320],
                    "anchor_scale": 2.5, "scales": 2, "ratios": [1, 0.75, 2, 4]},
    "retina-towerless": {"backbone": dict(SMALL, dims=[32, 32, 32, 32], heads=[1, 1, 1, 1],
                                          ratios=[2, 2, 1], kernels=[3, 3, 3], inverse="norm"),
                         "classes": 3, "channels": 33, "tower": 0, "image": [320, 320]},
}
# (height, width), the extent's height and width, the limit
CASES = {"retina-plain": [((96, 160), (90, 147.5), 1000), ((64, 64), (64, 64), 30)],
         "retina-norm": [((160, 96), (160, 81), 1000), ((32, 224), (25, 224), 20)],
         "retina-towerless": [((64, 96), (64, 96), 50)]}
THRESHOLD = 0.05
TINY = {"backbone": dict(soft.TINY, inverse="norm", classes=0, head="none", landmarks=49),
        "classes": 80}
TINY_SIZE = (256, 352)


def randomise(model, seed):
    """Seeded values, representable in f16; scores of all sizes, boxes of most."""
    make_soft_golden.randomise(model.backbone, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith("backbone."):
                continue
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            gain = {"bbox_head.retina_cls": 2.5, "bbox_head.retina_reg": 0.8}.get(
                name.rsplit(".", 1)[0], 1.4 if "_convs" in name and "bbox" in name else 1)
            value = 0.1 * noise if p.ndim == 1 else noise * gain * p[0].numel() ** -0.5
            if name == "bbox_head.retina_cls.bias":
                value = value - 2.5
            p.copy_(value.to(torch.float16))


def answers(model, x):
    """{name: tensor} of one picture [H, W, 3]."""
    with torch.no_grad():
        return {k: v[0] for k, v in model(torch.from_numpy(x).permute(2, 0, 1)[None]).items()}


def quantised(value):
    low, high = np.float32(value.min()), np.float32(value.max())
    step = (float(high) - float(low)) / 65535
    q = np.clip(np.round((value - float(low)) / step), 0, 65535) - 32768
    return q.astype(np.int16), np.array([low, high])


def is_clear(out, limit):
    """Whether rounding cannot change which boxes are kept."""
    for level in retina.LEVELS:
        scores = np.sort(out[f"cls_{level}"].sigmoid().numpy().ravel())[::-1]
        if np.abs(scores - THRESHOLD).min() < MARGIN:
            return False
        if len(scores) > limit and scores[limit] > THRESHOLD \
                and scores[limit - 1] - scores[limit] < MARGIN:
            return False
    return True


def save_case(name, model, case, seed):
    (height, width), (extent_height, extent_width), limit = case
    extent = torch.tensor([extent_width, extent_height], dtype=torch.float32)
    c = model.backbone.config
    while True:                         # until a picture makes no close decisions
        picture = make_golden.picture(height, width, seed)
        out = answers(model, (picture / 255.0 - np.array(c["mean"])) / np.array(c["std"]))
        if is_clear(out, limit):
            break
        seed += 100
    rows = retina.candidates(model.config, out, extent.double(), THRESHOLD, limit)
    tensors = {"input": picture, "extent": extent.numpy()}
    for key, value in out.items():
        tensors[key], tensors[f"{key}.range"] = quantised(value.numpy())
    for level, found in zip(retina.LEVELS, rows):
        tensors[f"rows_{level}"] = found.numpy().astype(np.float32)
    print(f"{name} {height}x{width}, seed {seed}: boxes", [len(r) for r in rows], "deviations",
          " ".join(f"{k} {v.std():.2f}" for k, v in out.items()))
    safetensors.save(os.path.join(OUT, f"{name}.{height}x{width}.safetensors"), tensors,
                     {"model": name, "threshold": THRESHOLD, "limit": limit, **MADE_BY})


def make_small():
    for i, (name, config) in enumerate(MODELS.items()):
        model = retina.Retina(**config).to(torch.float64).eval()
        randomise(model, 500 + 10 * i)
        path = os.path.join(OUT, f"{name}.safetensors")
        labels = json.dumps([f"thing {k}" for k in range(config["classes"])])
        retina.save_model(model, path, {"labels": labels, **MADE_BY})
        tensors, metadata = safetensors.load(path)
        halves = {k: v.astype(np.float16) for k, v in tensors.items()}
        assert all((halves[k].astype(np.float32) == v).all() for k, v in tensors.items())
        safetensors.save(path, halves, metadata)
        for k, case in enumerate(CASES[name]):
            save_case(name, model, case, 60 + k)


def make_tiny():
    model = retina.Retina(**TINY).eval()
    shapes = {k: list(v.shape) for k, v in model.state_dict().items()
              if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: torch.from_numpy(generated.tensor(k, s))
                           for k, s in shapes.items()}, strict=False)
    model.to(torch.float64)
    height, width = TINY_SIZE
    out = answers(model, generated.image(height, width).astype(np.float64))
    tensors = {}
    for key, value in out.items():
        value = value.numpy().ravel()
        tensors[key] = value[::STRIDE].astype(np.float32)
        tensors[f"{key}.range"] = np.array([value.min(), value.max()], np.float32)
    print("retina-tiny", " ".join(f"{k} {v.std():.2g}" for k, v in out.items()))
    safetensors.save(os.path.join(OUT, f"retina-tiny.{height}x{width}.safetensors"), tensors, {
        "config": json.dumps(TINY), "tensors": json.dumps(shapes), "height": height,
        "width": width, "stride": STRIDE, **MADE_BY})


def main():
    os.makedirs(OUT, exist_ok=True)
    make_small()
    make_tiny()


if __name__ == "__main__":
    main()
