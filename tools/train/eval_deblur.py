# SPDX-License-Identifier: MIT
"""Blurs the validation photographs afresh, deblurs them, and prints what was gained."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import blas

blas.settle()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import deblur_classics  # noqa: E402
import deblur_synth  # noqa: E402
import lmd_vit  # noqa: E402
import deblur_common  # noqa: E402

BANDS = ((3, 8), (8, 16), (16, 40), (40, 60), (60, 1000))
CELL = 16       # pixels, of a window at the highest level of the models shipped


def psnr(a, b, where):
    """Over the pixels of a boolean map; uint8 pictures. 99 where nothing differs."""
    d = (a.astype(np.float64) - b.astype(np.float64))[where] / 255
    return min(-10 * np.log10((d ** 2).mean() + 1e-30), 99.0)


def ssim_map(a, b):
    """SSIM of the luma, window of 11 pixels and sigma 1.5."""
    a, b = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float32) for i in (a, b))
    def blur(x):
        return cv2.GaussianBlur(x, (11, 11), 1.5)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


def gradient_similarity(a, b):
    """Map of gradient magnitude similarity of the luma, at half the size (Xue et al. 2014); the
    deviation of its values grows with the damage that an eye sees."""
    kernel = np.outer([1, 0, -1], [1, 1, 1]).astype(np.float32) / 3
    def gradient(x):
        x = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32)
        x = cv2.blur(x, (2, 2))[::2, ::2]
        return np.hypot(cv2.filter2D(x, -1, kernel), cv2.filter2D(x, -1, kernel.T))
    a, b = gradient(a), gradient(b)
    return (2 * a * b + 170) / (a * a + b * b + 170)


def deviation(a, b, inside):
    return float(gradient_similarity(a, b)[inside[::2, ::2]].std())


def window_masks(model, mask):
    """{LAYER.BLOCK: blurred windows of the mask}, for the blocks that own a predictor."""
    level, masks = deblur_common.levels(model), {}
    m = torch.from_numpy(mask.astype(np.float32))[None]
    for name, layer in model.layers():
        for i, block in enumerate(layer.blocks[:2]):
            label = deblur_common.window_labels(m, block, level[name], model.config["unshuffle"])
            masks[f"{name}.{i}"] = label[0].numpy() > 0
    return masks


def covered(model, keeps, shape):
    """The pixels that some kept window of some block covers."""
    level, cover = deblur_common.levels(model), np.zeros(shape, bool)
    for key, keep in keeps.items():
        name, i = key.split(".")
        block = getattr(model, name).blocks[int(i)]
        scale = model.config["unshuffle"] << level[name]
        one = np.kron(np.asarray(keep), np.ones((block.w * scale,) * 2, np.uint8)) > 0
        cover |= np.roll(one, (block.shift * scale,) * 2, (0, 1))
    return cover


class TorchEngine:
    """The PyTorch model, with the program's last step: what no window covers stays as it was."""

    def __init__(self, args):
        self.model = lmd_vit.load_model(args.model)
        self.options = {"dense": args.dense, "threshold": args.threshold}

    def __call__(self, picture):
        x = torch.from_numpy(picture).float() / 255
        canvas, top, left = lmd_vit.pad(x, self.model.multiple, "reflect")
        y, keeps, scores = self.model.infer(canvas, **self.options)
        h, w = picture.shape[:2]
        y = np.round(y[top:top + h, left:left + w].numpy() * 255).astype(np.uint8)
        cover = covered(self.model, keeps, canvas.shape[:2])[top:top + h, left:left + w]
        return np.where(cover[..., None], y, picture), keeps, (top, left)


class SoftlensEngine:
    """What the program gives: `softlens deblur` for the picture, and where it looked at pictures of
    the size that was trained, `softlens run` for keep maps."""

    def __init__(self, args):
        self.model = lmd_vit.load_model(args.model)     # only for its geometry
        self.binary, self.path = args.binary, args.model
        self.options = ["--tta", args.tta] if args.tta else []
        self.options += ["--shrink", str(args.shrink)] if args.shrink else []
        several = not args.shrink and args.side * args.enlarge >= 640
        self.sees_all = args.enlarge == 1 and args.shrink in (None, 1) and not several

    def __call__(self, picture):
        with tempfile.TemporaryDirectory() as folder:
            at = {n: os.path.join(folder, n) for n in ("in.png", "out.png", "in.npy", "run")}
            cv2.imwrite(at["in.png"], picture[..., ::-1])
            self.call("deblur", at["in.png"], "-o", at["out.png"], "--model", self.path,
                      *self.options)
            y = cv2.imread(at["out.png"], cv2.IMREAD_COLOR)[..., ::-1]
            if not self.sees_all:
                return y, None, (0, 0)
            x = torch.from_numpy(picture).float() / 255
            canvas, top, left = lmd_vit.pad(x, self.model.multiple, "reflect")
            np.save(at["in.npy"], np.ascontiguousarray(canvas.numpy()))
            self.call("run", self.path, "--input", at["in.npy"], "--output-dir", at["run"])
            keep_folder = os.path.join(at["run"], "keep")
            keeps = {n[:-4]: np.load(os.path.join(keep_folder, n))
                     for n in os.listdir(keep_folder)}
        return y, keeps, (top, left)

    def call(self, *words):
        subprocess.run([self.binary, *words], check=True, stdout=subprocess.DEVNULL)


def canvas_mask(mask, top, left, multiple):
    h, w = mask.shape
    canvas = np.zeros((-(-h // multiple) * multiple, -(-w // multiple) * multiple), np.uint8)
    canvas[top:top + h, left:left + w] = mask > 0
    return canvas


def judge(engine, pair):
    """One row of numbers for a (name, input, target, mask, length)."""
    name, x, target, mask, length = pair
    y, keeps, (top, left) = engine(x)
    inside, outside = mask > 0, mask == 0
    row = {
        "name": name, "length": round(length, 1), "before": psnr(x, target, inside),
        "after": psnr(y, target, inside), "outside": psnr(y, x, outside),
        "whole_before": psnr(x, target, inside | outside),
        "whole_after": psnr(y, target, inside | outside),
        "ssim_before": ssim_map(x, target)[inside].mean(),
        "ssim_after": ssim_map(y, target)[inside].mean(),
        "gmsd_before": deviation(x, target, inside), "gmsd_after": deviation(y, target, inside)}
    if keeps:
        masks = window_masks(engine.model, canvas_mask(mask, top, left, engine.model.multiple))
        row["recall"] = {k: (np.asarray(keeps[k]) > 0)[m].mean()
                         for k, m in masks.items() if m.any()}
        row["kept"] = {k: np.asarray(keeps[k]).mean() for k in masks}
        row["blurred"] = {k: m.mean() for k, m in masks.items()}
    return row, y


def judge_classics(pair):
    """Gains in dB of what is done without a network."""
    _, x, target, mask, length = pair
    inside = mask > 0
    before = psnr(x, target, inside)
    return {"unsharp masking": psnr(deblur_classics.unsharp(x, mask), target, inside) - before,
            "Wiener": psnr(deblur_classics.wiener(x, mask, length, target), target, inside)
            - before}


def judge_sharp(engine, photo):
    """A sharp photograph: (cells unchanged bit for bit, windows kept) as shares, PSNR."""
    y, keeps, _ = engine(photo)
    h, w = (n // CELL * CELL for n in photo.shape[:2])
    differs = (y != photo).any(-1)[:h, :w].reshape(h // CELL, CELL, w // CELL, CELL).any((1, 3))
    kept = float(np.mean([np.asarray(k).mean() for k in keeps.values()])) if keeps else np.nan
    return 1 - float(differs.mean()), kept, psnr(y, photo, np.ones(photo.shape[:2], bool))


def report_sharp(engine, source, args):
    rows = np.array([judge_sharp(engine, source.photo(name, args.side))
                     for name in source.val[:args.count]])
    print(f"sharp photographs {len(rows)}: cells of {CELL} pixels unchanged bit for bit "
          f"{100 * rows[:, 0].mean():.1f} %, windows kept {100 * rows[:, 1].mean():.1f} %, output "
          f"against input {rows[:, 2].mean():.2f} dB, least {rows[:, 2].min():.2f}")


def mean(rows, key):
    return float(np.mean([r[key] for r in rows]))


def per_predictor(rows, field):
    """{predictor: mean over the pictures}"""
    keys = rows[0]["kept"]
    return {k: float(np.mean([r[field][k] for r in rows if k in r[field]])) for k in keys}


def report(rows):
    gain = np.array([r["after"] - r["before"] for r in rows])
    length = np.array([r["length"] for r in rows])
    print(f"pictures {len(rows)}")
    print(f"PSNR in mask: {mean(rows, 'before'):.2f} -> {mean(rows, 'after'):.2f} dB; gain mean "
          f"{gain.mean():+.3f}, median {np.median(gain):+.3f}, least {gain.min():+.3f}, "
          f"most {gain.max():+.3f}; better {100 * (gain > 0).mean():.1f} %")
    for low, high in BANDS:
        some = gain[(length >= low) & (length < high)]
        if len(some):
            print(f"  path {low}-{high} px ({len(some)}): {some.mean():+.3f} dB")
    print(f"SSIM in mask: {mean(rows, 'ssim_before'):.4f} -> {mean(rows, 'ssim_after'):.4f}")
    print(f"GMSD in mask, less is better: {mean(rows, 'gmsd_before'):.4f} -> "
          f"{mean(rows, 'gmsd_after'):.4f}")
    for name in rows[0].get("classics", ()):
        other = np.array([r["classics"][name] for r in rows])
        print(f"{name}: gain mean {other.mean():+.3f} dB, better {100 * (other > 0).mean():.1f} %")
    print(f"PSNR of the whole picture: {mean(rows, 'whole_before'):.2f} -> "
          f"{mean(rows, 'whole_after'):.2f} dB")
    print(f"outside the mask, output against input: mean {mean(rows, 'outside'):.2f} dB, "
          f"least {min(r['outside'] for r in rows):.2f}")
    if "kept" in rows[0]:
        report_windows(rows)


def report_windows(rows):
    recall, kept, blurred = (per_predictor(rows, f) for f in ("recall", "kept", "blurred"))
    def average(d):
        return float(np.mean(list(d.values())))
    print(f"windows: recall {average(recall):.3f}, kept {average(kept):.3f}, blurred "
          f"{average(blurred):.3f}, kept / blurred {average(kept) / average(blurred):.2f}")
    for k in kept:
        print(f"  {k}: recall {recall[k]:.3f}, kept {kept[k]:.3f}, blurred {blurred[k]:.3f}")


def side_by_side(x, y, target, mask):
    """Input, output and target around the blur's middle, at twice the size."""
    ys, xs = np.nonzero(mask)
    h, w = mask.shape
    n = min(192, h, w)
    top = int(np.clip(np.median(ys) - n // 2, 0, h - n))
    left = int(np.clip(np.median(xs) - n // 2, 0, w - n))
    crops = [i[top:top + n, left:left + n] for i in (x, y, target)]
    big = [cv2.resize(c, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for c in crops]
    return np.hstack(big)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="folder of index.csv, as of deblur_pairs.py")
    parser.add_argument("--engine", choices=["torch", "softlens"], default="torch")
    parser.add_argument("--binary", default="build/softlens")
    parser.add_argument("--seed", type=int, default=1001)
    parser.add_argument("--side", type=int, default=512, help="long side of the photographs")
    parser.add_argument("--count", type=int, default=40, help="the first so many photographs")
    parser.add_argument("--threshold", type=float, help="torch only; instead of the model's own")
    parser.add_argument("--dense", action="store_true", help="torch only; prune nothing")
    parser.add_argument("--tta", choices=["flip", "flips"], help="softlens only")
    parser.add_argument("--enlarge", type=int, default=1,
                        help="photographs and paths that many times larger; softlens only")
    parser.add_argument("--shrink", type=int, help="as of the program; softlens only")
    parser.add_argument("--longest", type=float, default=40, help="path in pixels")
    parser.add_argument("--classics", action="store_true",
                        help="also unsharp masking, and Wiener's filter at its best")
    parser.add_argument("--sharp", action="store_true",
                        help="also what becomes of the photographs as they are")
    parser.add_argument("--crops", help="folder for crops of input, output, target at 200 %%")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(1)
    engine = TorchEngine(args) if args.engine == "torch" else SoftlensEngine(args)
    source, rows = deblur_synth.Source(args.data), []
    for pair in deblur_synth.validation_pairs(source, args.seed, args.side, args.longest,
                                              args.enlarge):
        row, y = judge(engine, pair)
        if args.classics:
            row["classics"] = judge_classics(pair)
        rows.append(row)
        if args.crops:
            os.makedirs(args.crops, exist_ok=True)
            name = os.path.basename(row["name"])[:-4]
            cv2.imwrite(os.path.join(args.crops, f"{name}.png"),
                        side_by_side(pair[1], y, pair[2], pair[3])[..., ::-1])
        if len(rows) == args.count:
            break
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1, default=float)
    report(rows)
    if args.sharp:
        report_sharp(engine, source, args)


if __name__ == "__main__":
    main()
