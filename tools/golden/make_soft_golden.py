# SPDX-License-Identifier: MIT
"""Writes the golden tensors of SOFT and SOFT-Norm under tests/data/golden.

    python3 tools/golden/make_soft_golden.py

Small models come with their weights: MODEL.safetensors, and MODEL.CASE.safetensors with

    input               uint8 [H, W, 3]; the network sees (input / 255 - mean) / std
    logits, embedding   f32, as far as the model has them
    pool3, pool4        f32
    stage1 .. stage4    int16 [h, w, C]; a value is low + (q + 32768) / 65535 * (high - low)
    stageN.range        f32 [2]: low, high

Of the full-size Tiny models only answers are stored, soft-tiny.CASE and soft-norm-tiny.CASE: their
weights and pictures follow from names and shapes by the rule in generated.py. The metadata has
`config`, `tensors` (JSON, {name: shape}), `height`, `width`; stageN holds, f32, every 97th element
of the map in row-major order. Results are computed in f64, the inverse included.
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
import safetensors  # noqa: E402
import soft  # noqa: E402

OUT = make_golden.OUT
STRIDE = 97
SMALL = {"depths": [1, 1, 1, 1], "stem": 8, "image": 64, "resize": 72}
MODELS = {
    "soft-plain": dict(SMALL, dims=[32, 64, 32, 32], heads=[1, 2, 1, 1], ratios=[3, 2, 1],
                       kernels=[7, 5, 3], inverse="soft", classes=10),
    "soft-norm": dict(SMALL, dims=[32, 32, 32, 64], heads=[1, 1, 1, 2], ratios=[4, 2, 1],
                      kernels=[5, 5, 3], inverse="norm", classes=12, head="hyperspherical",
                      embedding=16, scale=14.0),
    "soft-fixed": dict(SMALL, dims=[64, 32, 32, 32], heads=[2, 1, 1, 1], ratios=[2, 1, 1],
                       kernels=[9, 5, 3], inverse="norm", classes=5, head="ebv", embedding=8,
                       scale=10.0, landmarks=9, iterations=18),
    "soft-bare": dict(SMALL, dims=[32, 32, 32, 32], heads=[1, 1, 1, 1], ratios=[2, 2, 1],
                      kernels=[3, 3, 3], inverse="soft", classes=5, head="none",
                      class_token=False, landmarks=16),
}
SIZES = {"soft-plain": [(64, 64), (96, 80), (75, 61)], "soft-norm": [(64, 64), (96, 80), (75, 61)],
         "soft-fixed": [(64, 64), (75, 61)], "soft-bare": [(80, 96), (75, 61)]}
TINY_SIZES = [(224, 224), (256, 192)]


def randomise(model, seed):
    """Seeded values, representable in f16, of sizes that keep activations near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                value = torch.exp(0.3 * noise)
            elif name.endswith("Qnorm_act.0.weight"):
                value = 0.35 + 0.1 * noise
            elif name.endswith(".weight") and p.ndim == 1:
                value = 1 + 0.2 * noise
            elif name.endswith(("bias", "running_mean")):
                value = 0.15 * noise
            elif name.startswith(("pos_embed", "cls_token")):
                value = 0.3 * noise
            elif name == "directions":
                value = noise / noise.norm(dim=1, keepdim=True)
            else:
                value = noise * p[0].numel() ** -0.5 * (0.7 if "W_q" in name else 1)
            p.copy_(value.to(torch.float16))


def answers(model, x):
    """{name: f64 array} of one picture [H, W, 3]."""
    with torch.no_grad():
        out = model(torch.from_numpy(x).permute(2, 0, 1)[None])
    return {k: v[0].numpy() for k, v in out.items()}


def watch_kernels(function):
    """Runs it; returns (result, 5 % and 95 % quantiles of all Gaussian kernel values)."""
    seen, original = [], soft.kernel

    def kernel(a, b):
        seen.append(original(a, b))
        return seen[-1]

    soft.kernel = kernel
    try:
        result = function()
    finally:
        soft.kernel = original
    values = np.concatenate([k.numpy().ravel() for k in seen])
    return result, np.quantile(values, [0.05, 0.95])


def agreement(model, x, exact):
    """The largest deviation of the same in f32, of each output's range."""
    single = answers(model.to(torch.float32), x.astype(np.float32))
    model.to(torch.float64)
    return max(float(np.abs(single[k] - v).max() / np.ptp(v)) for k, v in exact.items())


def report(name, model, x):
    exact, spread = watch_kernels(lambda: answers(model, x))
    print(f"{name}: kernels {spread[0]:.3f} to {spread[1]:.3f}, f32 off by "
          f"{agreement(model, x, exact):.1e}, stages of deviation "
          + " ".join(f"{exact[f'stage{s}'].std():.2f}" for s in (1, 2, 3, 4)))
    return exact


def save_small(name, model, height, width, seed):
    picture = make_golden.picture(height, width, seed)
    c = model.config
    exact = report(f"{name} {height}x{width}", model,
                   (picture / 255.0 - np.array(c["mean"])) / np.array(c["std"]))
    tensors = {"input": picture}
    for key, value in exact.items():
        if not key.startswith("stage"):
            tensors[key] = value.astype(np.float32)
            continue
        low, high = np.float32(value.min()), np.float32(value.max())
        step = (float(high) - float(low)) / 65535
        q = np.clip(np.round((value - float(low)) / step), 0, 65535) - 32768
        tensors[key], tensors[f"{key}.range"] = q.astype(np.int16), np.array([low, high])
    path = os.path.join(OUT, f"{name}.{height}x{width}.safetensors")
    safetensors.save(path, tensors, {"model": name})


def make_small():
    for i, (name, config) in enumerate(MODELS.items()):
        model = soft.Soft(**config).to(torch.float64).eval()
        randomise(model, 300 + i)
        path = os.path.join(OUT, f"{name}.safetensors")
        made_by = {"made_by": "tools/golden/make_soft_golden.py"}
        soft.save_model(model, path, made_by)
        tensors, metadata = safetensors.load(path)
        halves = {k: v.astype(np.float16) for k, v in tensors.items()}
        assert all((halves[k].astype(np.float32) == v).all() for k, v in tensors.items())
        safetensors.save(path, halves, metadata)
        for k, (height, width) in enumerate(SIZES[name]):
            save_small(name, model, height, width, 40 + k)


def make_tiny(name, inverse):
    model = soft.Soft(**soft.TINY, inverse=inverse).eval()
    state = {k: v for k, v in model.state_dict().items()
             if not k.endswith("num_batches_tracked")}
    shapes = {k: list(v.shape) for k, v in state.items()}
    model.load_state_dict({k: torch.from_numpy(generated.tensor(k, s))
                           for k, s in shapes.items()}, strict=False)
    model.to(torch.float64)
    config = json.dumps({**soft.TINY, "inverse": inverse})
    for height, width in TINY_SIZES:
        image = generated.image(height, width)
        exact = report(f"{name} {height}x{width}", model, image.astype(np.float64))
        tensors = {k: (v.ravel()[::STRIDE] if k.startswith("stage") else v).astype(np.float32)
                   for k, v in exact.items()}
        for key in list(tensors):
            if key.startswith("stage"):
                tensors[f"{key}.range"] = np.array([exact[key].min(), exact[key].max()],
                                                   np.float32)
        path = os.path.join(OUT, f"{name}.{height}x{width}.safetensors")
        safetensors.save(path, tensors, {
            "config": config, "tensors": json.dumps(shapes), "height": height, "width": width,
            "stride": STRIDE, "made_by": "tools/golden/make_soft_golden.py"})


def main():
    os.makedirs(OUT, exist_ok=True)
    make_small()
    make_tiny("soft-tiny", "soft")
    make_tiny("soft-norm-tiny", "norm")


if __name__ == "__main__":
    main()
