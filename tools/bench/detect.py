#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures detection through the program, and writes what it finds into README.md and the cards.

    tools/bench/detect.py DATA

DATA holds train.json, val.json and images/, and of blood cells bccd/ with the same in it. The numbers
of quality are those of `softlens eval detect`; each way of joining boxes is also measured with the
setting that does best on training pictures. docs/detect.jpg is drawn anew. Python's standard library
and Pillow only.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from PIL import Image

import peers

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BEGIN = "<!-- tools/bench/detect.py writes this -->"
SOFTLENS = os.path.join(ROOT, "build", "softlens")
MODELS = {"retina-soft-small": "", "retina-soft-cells": "bccd"}     # folder within DATA
WAYS = [("gaussian", "Soft-NMS, gaussian (default)"), ("linear", "Soft-NMS, linear"),
        ("hard", "hard NMS")]
SETTINGS = {"gaussian": ("--sigma", "0.3", "0.4", "0.5", "0.6", "0.8"),
            "linear": ("--iou", "0.2", "0.3", "0.4", "0.5"),
            "hard": ("--iou", "0.4", "0.5", "0.6", "0.7")}
EVERY = 4       # of the training pictures, for the settings
NMS_ROWS = 8    # the sets of boxes that nms-bench has


def evaluate(data, model, *options, annotations=None):
    folder = os.path.join(data, MODELS[model])
    command = [SOFTLENS, "eval", "detect", "--json", "--model",
               os.path.join(ROOT, "models", f"{model}.safetensors"), "--annotations",
               annotations or os.path.join(folder, "val.json"), "--images",
               os.path.join(folder, "images"), *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def write_some(data, model, path):
    """Every so many training pictures, as an annotations file of its own."""
    with open(os.path.join(data, MODELS[model], "train.json"), encoding="utf-8") as file:
        coco = json.load(file)
    coco["images"] = coco["images"][::EVERY]
    ids = {image["id"] for image in coco["images"]}
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(coco, file)


def best_settings(data, model):
    """{way: options} with the largest AP on training pictures."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "some.json")
        write_some(data, model, path)
        for way, (option, *values) in SETTINGS.items():
            scores = {v: evaluate(data, model, "--nms", way, option, v, annotations=path)[way]["AP"]
                      for v in values}
            best = max(scores, key=scores.get)
            found[way] = ("--nms", way, option, best)
            print(model, way, scores, file=sys.stderr)
    return found


def percent(scores, key):
    return f"{100 * scores[key]:.1f}" if key in scores else ""


def card_table(data, model):
    """(Markdown of a card, scores of the default way)"""
    report = evaluate(data, model)
    linear = evaluate(data, model, "--nms", "linear")
    report["linear"] = linear["linear"]
    keys = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
    best = best_settings(data, model)
    lines = ["| percent | AP | AP50 | AP75 | small | medium | large |", "|---|---|---|---|---|---|---|"]
    for way, name in WAYS:
        lines.append(f"| {name} | " + " | ".join(percent(report[way], k) for k in keys) + " |")
    for way, name in WAYS:
        scores = evaluate(data, model, *best[way])[way]
        name = f"{name.replace(' (default)', '')}, `{' '.join(best[way][2:])}`, the best of " \
               f"{len(SETTINGS[way]) - 1} on training pictures"
        lines.append(f"| {name} | " + " | ".join(percent(scores, k) for k in keys) + " |")
    lines += ["", "| class | boxes in val | AP | AP50 |", "|---|---|---|---|"]
    for name, scores in report["gaussian"]["classes"].items():
        lines.append(f"| {name} | {scores['boxes']} | {percent(scores, 'AP')} | "
                     f"{percent(scores, 'AP50')} |")
    return "\n".join(lines), report


def best_seconds(command, times=7):
    took = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return min(took), statistics.median(took)


def large_picture(path):
    """12 megapixels of the sample photograph, with the noise that a camera would add."""
    with Image.open(os.path.join(ROOT, "data", "sample.jpg")) as sample:
        large = sample.convert("RGB").resize((4000, 3000), Image.BICUBIC)
    noise = Image.effect_noise(large.size, 12).convert("RGB")
    Image.blend(large, noise, 0.12).save(path, quality=92)


def nms_table():
    """Soft-NMS beside the loop that was published with it, as nms-bench prints them. It fails where
    they give different boxes, and what it prints has to be understood to the last line."""
    folder = os.path.join(ROOT, "build")
    subprocess.run(["ninja", "-C", folder, "tools/bench/nms-bench"], check=True,
                   capture_output=True)
    printed = subprocess.run([os.path.join(folder, "tools", "bench", "nms-bench")], check=True,
                             capture_output=True, text=True).stdout
    rows = re.findall(r"^(.+?)\s+\d+ left\s+([\d.]+) ms, the loop\s+([\d.]+) ms:\s+([\d.]+) times$",
                      printed, re.MULTILINE)
    if len(rows) != NMS_ROWS:
        sys.exit(f"detect.py: nms-bench compared {len(rows)} sets of boxes, not {NMS_ROWS}:\n{printed}")
    return "\n".join(
        ["| 10 000 boxes of one class, gaussian | softlens | the published loop, -O3 | ratio |",
         "|---|---|---|---|", *("| {} | {} ms | {} ms | {} |".format(*row) for row in rows)])


def draw_sample():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "detect.jpg")
        subprocess.run([SOFTLENS, "detect", os.path.join(ROOT, "data", "sample.jpg"), "-o", path],
                       check=True, capture_output=True)
        shutil.copy(path, os.path.join(ROOT, "docs", "detect.jpg"))


def readme_block(reports, large, small, nms):
    general, cells = (reports[m]["gaussian"] for m in MODELS)
    classes = general["classes"]
    best = sorted(classes, key=lambda c: -classes[c]["AP50"])
    listed = ", ".join(f"{c} {percent(classes[c], 'AP50')}" for c in best)
    return "\n".join([
        "| model | what it finds | AP50 on val | AP |", "|---|---|---|---|",
        f"| `retina-soft-small` (default) | {listed} | {percent(general, 'AP50')} | "
        f"{percent(general, 'AP')} |",
        f"| `retina-soft-cells` | {', '.join(cells['classes'])} | {percent(cells, 'AP50')} | "
        f"{percent(cells, 'AP')} |", "",
        f"A 12-megapixel JPEG takes {large[0]:.2f} s from the start of the program to both files "
        f"(least of 7; median {large[1]:.2f} s), the 512 x 512 sample {1000 * small[0]:.0f} ms, on "
        f"{peers.machine()}. Soft-NMS gives bit for bit what the loop gives "
        "that was published with it (`build/tools/bench/nms-bench`):", "", nms])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    reports = {}
    for model in MODELS:
        block, reports[model] = card_table(sys.argv[1], model)
        peers.write_table(os.path.join(ROOT, "models", f"{model}.md"), BEGIN, [block])
        print(block)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "large.jpg")
        large_picture(path)
        command = [SOFTLENS, "detect", "--overwrite", "--device", "cpu", "-o", folder + "/"]
        large = best_seconds(command + [path])
        small = best_seconds(command + [os.path.join(ROOT, "data", "sample.jpg")])
    block = readme_block(reports, large, small, nms_table())
    draw_sample()
    peers.write_table(os.path.join(ROOT, "README.md"), BEGIN, [block])
    print(block)


if __name__ == "__main__":
    main()
