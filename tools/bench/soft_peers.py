# SPDX-License-Identifier: MIT
"""SOFT-Tiny beside PyTorch, and how its time grows with the picture. See soft.sh.

    soft_peers.py peers ROOT README       times both in turn, and writes the table into README
    soft_peers.py scaling ROOT FIGURE     times pictures of 224 to 1792 pixels, and draws FIGURE.svg
    soft_peers.py draw FIGURE             draws it again from FIGURE.json

The peer is tools/golden/soft.py, with the same weights, in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import figure
import peers

HERE = peers.HERE
THREADS = peers.THREADS
BEGIN = "<!-- tools/bench/soft.sh writes this -->"
ROUNDS = int(os.environ.get("ROUNDS", "4"))     # each times one, then the other
SIZES = range(224, 1793, 224)
LIMIT = float(os.environ.get("LIMIT_SECONDS", "120"))     # of a run that is still waited for


def import_peer():
    sys.path.insert(0, os.path.join(HERE, "..", "golden"))
    import generated
    import soft
    import torch
    torch.set_num_threads(THREADS)
    return soft, generated, torch


def torch_write(path, inverse, landmarks):
    """Tiny, with the weights that follow from its tensors' names (tools/golden/generated.py)."""
    soft, generated, torch = import_peer()
    landmarks = landmarks if landmarks == "ratio" else int(landmarks)
    model = soft.Soft(**soft.TINY, inverse=inverse, landmarks=landmarks)
    state = {k: torch.from_numpy(generated.tensor(k, list(v.shape)))
             for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    soft.save_model(model, path, state=state)


def torch_input(path):
    import numpy as np
    _, generated, _ = import_peer()
    np.save(path, generated.image(224, 224))


def torch_time(model_path, input_path, output_path, repeats):
    """Prints the median seconds."""
    import numpy as np
    soft, _, torch = import_peer()
    model = soft.load_model(model_path)
    x = torch.from_numpy(np.load(input_path)).permute(2, 0, 1)[None].contiguous()
    times = []
    with torch.inference_mode():
        for _ in range(int(repeats) + 2):
            start = time.perf_counter()
            y = model(x)["logits"][0]
            times.append(time.perf_counter() - start)
    np.save(output_path, y.numpy())
    print(statistics.median(times[2:]))


def torch(*args):
    command = [sys.executable, os.path.abspath(__file__), "torch", *args]
    return peers.measured(command, **peers.KEEP_MEMORY)[2]


def softlens(root, command, *args):
    return peers.measured([os.path.join(root, "build", "softlens"), command, *args, "--device",
                           "cpu", "--threads", str(THREADS), "--quiet"])[2]


def bench(root, model, *args):
    return json.loads(softlens(root, "bench", model, "--json", *args))


# ---- beside PyTorch

def compare(root, scratch, name, inverse):
    """A row: the best of the rounds' medians, so that what disturbs one round counts for neither."""
    import numpy as np
    model, x, y = (os.path.join(scratch, n) for n in ("m.safetensors", "x.npy", "y.npy"))
    torch("write", model, inverse, "ratio")
    torch("input", x)
    here, there = [], []
    for _ in range(ROUNDS):
        here.append(bench(root, model, "--repeats", "20"))
        there.append(float(torch("time", model, x, y, "20")))
    best = min(here, key=lambda b: b["median_seconds"])
    seconds, peer = best["median_seconds"], min(there)
    out = os.path.join(scratch, "out")
    softlens(root, "run", model, "--input", x, "--output-dir", out, "--overwrite")
    want, got = np.load(y), np.load(os.path.join(out, "logits.npy"))
    error = np.abs(want - got).max() / np.ptp(want)
    print(f"{name}: {seconds:.4f} s, PyTorch {peer:.4f} s", flush=True)
    return (f"| {name}, 224x224, logits within {error:.0e} of their range | "
            f"{1000 * seconds:.1f} ms, {best['gflops']:.0f} GFLOP/s | {1000 * peer:.1f} ms | "
            f"{peer / seconds:.2f}x faster | `softlens bench {name.upper()} --device cpu` |")


def main_peers(root, readme):
    version = peers.measured([sys.executable, "-c",
                              "import torch; print(torch.__version__)"])[2].strip()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [compare(root, scratch, *what)
                for what in (("SOFT-Tiny", "soft"), ("SOFT-Norm-Tiny", "norm"))]
    lines = [f"{peers.machine()}; PyTorch {version}.", "", *peers.HEADER, *rows]
    print("\n".join(lines))
    peers.write_table(readme, BEGIN, lines)


# ---- how time grows

def attention(root, side, kind):
    tool = os.path.join(root, "build", "tools", "bench", "attention-bench")
    return float(peers.measured([tool, str(side), kind, str(THREADS)])[2])


def whole(root, model, side):
    """(seconds of a run, of which softmax-free attention)"""
    result = bench(root, model, "--size", f"{side}x{side}", "--repeats", "3")
    parts = {f["family"]: f["seconds"] for f in result["families"]}
    return result["min_seconds"], parts["soft_attention"]


def may_grow(points, power):
    """Whether the next size is worth waiting for, at so many powers of the side."""
    if not points:
        return True
    side, seconds = points[-1]
    return seconds * ((side + SIZES.step) / side) ** power < LIMIT


def measure(root, scratch):
    curves = {"ratio": [], "fixed": [], "softmax": []}
    models = {}
    for kind, landmarks in (("ratio", "ratio"), ("fixed", "49")):
        models[kind] = os.path.join(scratch, kind + ".safetensors")
        torch("write", models[kind], "norm", landmarks)
    for side in SIZES:
        seconds, part = whole(root, models["fixed"], side)
        curves["fixed"].append((side, seconds))
        if may_grow(curves["ratio"], 6):
            curves["ratio"].append((side, whole(root, models["ratio"], side)[0]))
        if may_grow(curves["softmax"], 4):
            curves["softmax"].append((side, seconds - part + attention(root, side, "softmax")))
        print(side, {k: v[-1] for k, v in curves.items()}, flush=True)
    return curves


def main_scaling(root, path):
    tool = "tools/bench/attention-bench"
    subprocess.run(["ninja", "-C", os.path.join(root, "build"), tool], check=True,
                   stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as scratch:
        curves = measure(root, scratch)
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump({"machine": peers.machine(), "limit": LIMIT, "curves": curves}, file, indent=1)
        file.write("\n")
    main_draw(path)


def main_draw(path):
    with open(path + ".json", encoding="utf-8") as file:
        data = json.load(file)
    figure.write(path + ".svg", data)


if __name__ == "__main__":
    if sys.argv[1] == "torch":
        {"write": torch_write, "input": torch_input, "time": torch_time}[sys.argv[2]](*sys.argv[3:])
    else:
        {"peers": main_peers, "scaling": main_scaling, "draw": main_draw}[sys.argv[1]](*sys.argv[2:])
