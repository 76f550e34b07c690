# SPDX-License-Identifier: MIT
"""Writes the small seeded models and golden tensors under tests/data/golden.

    python3 tools/golden/make_golden.py

Every parameter has a non-trivial value, and the predictors' last bias is set so that about half of
the windows are kept: otherwise a test could not see a mistake there. Weights are representable in
f16, which halves the files without touching the numbers. Results are computed in f64 and stored as
16-bit integers, (q + 32768) / 65535: off by at most 8e-6, against a tolerance of 1e-4.
"""

import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import lmd_vit  # noqa: E402
import safetensors  # noqa: E402

OUT = os.path.join(HERE, "..", "..", "tests", "data", "golden")

MARGIN = 3e-5   # of a score difference; f32 rounding moves one by about 1e-6

MODELS = {
    "decoder": dict(embed_dim=8, depths=[2, 1, 1, 1, 3], heads=[1, 2, 4, 2, 1]),
    "unshuffle": dict(embed_dim=6, depths=[1, 2, 1, 1, 3], heads=[1, 3, 2, 4, 1], unshuffle=2,
                      window=4, mlp_ratio=2, modulator="all", threshold=0.4),
    "deep": dict(embed_dim=4, depths=[1, 1, 1, 2, 1, 2, 1], heads=[1, 1, 2, 4, 2, 2, 1],
                 modulator="none", img_size=32),
    "fade": dict(embed_dim=6, depths=[2, 2, 1, 1, 2], heads=[1, 3, 2, 4, 1], unshuffle=2,
                 window=4, mlp_ratio=2, threshold=0.4, fade=[0.31, 0.37]),
}
# model, case name, height, width, options of infer()
CASES = [
    ("decoder", "mixed-200x150", 200, 150, {}),
    ("decoder", "dense-64x96", 64, 96, {"dense": True}),
    ("decoder", "none-33x40", 33, 40, {"threshold": 0.99999}),
    ("decoder", "all-33x40", 33, 40, {"threshold": 0.00001}),
    ("decoder", "mixed-7x300", 7, 300, {}),
    ("decoder", "mixed-1x1", 1, 1, {}),
    ("unshuffle", "mixed-129x128", 129, 128, {}),
    ("unshuffle", "dense-50x31", 50, 31, {"dense": True}),
    ("unshuffle", "mixed-1x1", 1, 1, {}),
    ("deep", "mixed-70x130", 70, 130, {}),
    ("deep", "dense-64x64", 64, 64, {"dense": True}),
    ("fade", "mixed-75x130", 75, 130, {}),
    ("fade", "dense-40x33", 40, 33, {"dense": True}),
    ("fade", "mixed-1x1", 1, 1, {}),
]


def picture(height, width, seed):
    """Smooth shapes, edges and noise, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        a, b, c, d = rng.uniform(-0.12, 0.12, 4)
        waves = np.sin(a * x + b * y + rng.uniform(0, 6)) + np.sin(c * x + d * y)
        steps = (np.sin(0.05 * x + rng.uniform(0, 6)) > np.cos(0.07 * y)) * 1.0
        planes.append(0.5 + 0.13 * waves + 0.2 * (steps - 0.5))
    noise = rng.normal(0, 0.03, (height, width, 3)) * (x > width / 2)[..., None]
    return np.clip(np.round((np.stack(planes, -1) + noise) * 255), 0, 255).astype(np.uint8)


def randomise(model, seed):
    """Seeded values for every parameter, of sizes that keep activations near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if "norm" in name and name.endswith("weight") or name.endswith("in_conv.2.weight"):
                value = 1 + 0.2 * noise
            elif name.endswith("bias"):
                value = 0.15 * noise
            elif "relative_position" in name or "modulator" in name:
                value = 0.4 * noise
            elif "dwconv" in name:
                value = 0.35 * noise
            elif name.startswith("output_proj"):    # small steps: few pixels meet the clamp
                value = 0.08 * noise * p[0].numel() ** -0.5
            else:
                value = noise * p[0].numel() ** -0.5
            p.copy_(value.to(torch.float16))


def calibrate(model, image):
    """Sets each predictor's last bias so that half of the windows of `image` are kept."""
    threshold = model.config["threshold"]
    margin = float(np.log(threshold / (1 - threshold)))
    blocks = [(f"{name}.{i}", b) for name, layer in model.layers()
              for i, b in enumerate(layer.blocks) if b.score_predictor is not None]
    for key, block in blocks:       # in the order of the pass: later ones see the earlier ones' maps
        _, _, scores = lmd_vit.deblur(model, image)
        z = scores[key].reshape(-1, 2)
        middle = float((z[:, 0] - z[:, 1]).median()) - margin
        with torch.no_grad():
            bias = block.score_predictor.out_conv[4].bias
            bias[0] = (bias[0] - middle + 2e-3).to(torch.float16)


def closest(scores, threshold):
    """How near the nearest window is to being decided the other way."""
    margin = float(np.log(threshold / (1 - threshold)))
    return min(float((z[..., 0] - z[..., 1] - margin).abs().min()) for z in scores.values())


def save_case(model, name, case, height, width, options):
    threshold = options.get("threshold", model.config["threshold"])
    for seed in range(100):     # a picture without a window so near that f32 rounding may flip it
        image = picture(height, width, seed)
        x = torch.from_numpy(image.astype(np.float32) / np.float32(255)).to(torch.float64)
        y, keeps, scores = lmd_vit.deblur(model, x, **options)
        if options.get("dense") or closest(scores, threshold) > MARGIN:
            break
    else:
        raise SystemExit(f"{name} {case}: no picture keeps its scores away from the threshold")
    kept = float(np.mean([k.float().mean() for k in keeps.values()]))
    print(f"{name} {case}: picture {seed}, kept {kept:.2f}, mean change "
          f"{float((y - x).abs().mean()):.4f}, clamped "
          f"{float(((y <= 0) | (y >= 1)).float().mean()):.3f}")
    tensors = {"input": image,
               "output": (np.round(y.numpy() * 65535) - 32768).astype(np.int16)}
    for key, keep in keeps.items():
        tensors[f"keep/{key}"] = keep.numpy()
        if int(key.rsplit(".", 1)[1]) < 2:
            tensors[f"scores/{key}"] = scores[key].to(torch.float32).numpy()
    metadata = {"model": name, "dense": str(int(options.get("dense", False))),
                "threshold": repr(options.get("threshold", 0.0))}
    safetensors.save(os.path.join(OUT, f"{name}.{case}.safetensors"), tensors, metadata)


def main():
    os.makedirs(OUT, exist_ok=True)
    for seed, (name, config) in enumerate(MODELS.items()):
        model = lmd_vit.LmdVit(**config).to(torch.float64).eval()
        randomise(model, 100 + seed)
        first = picture(160, 192, 7)
        calibrate(model, torch.from_numpy(first).to(torch.float64) / 255)
        path = os.path.join(OUT, f"{name}.safetensors")
        state = {k: v.to(torch.float32) for k, v in model.state_dict().items()}
        lmd_vit.save_model(model, path, {"made_by": "tools/golden/make_golden.py"}, state)
        tensors, metadata = safetensors.load(path)
        halves = {k: v.astype(np.float16) for k, v in tensors.items()}
        assert all((halves[k].astype(np.float32) == v).all() for k, v in tensors.items())
        safetensors.save(path, halves, metadata)
        for model_name, case, height, width, options in CASES:
            if model_name == name:
                save_case(model, name, case, height, width, options)


if __name__ == "__main__":
    main()
