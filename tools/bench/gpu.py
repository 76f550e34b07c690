# SPDX-License-Identifier: MIT
"""softlens on a graphics card beside PyTorch on the same one: same weights, same minutes. See
gpu.sh.

The peer is tools/golden/lmd_vit.py, eager, in f32 (without TF32) and f16. It runs in a process of
its own (gpu.py torch ...): neither's memory is in the other's way. What softlens is timed for
includes the picture's way to the card and back; the peer's picture lies on the card already.

A program's first starts on a card measure which kernels serve best, a little each time, and keep
what they found; WARM_STARTS of them come before what is timed."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import peers

BEGIN = "<!-- tools/bench/gpu.sh writes this -->"
SIZE = 1664, 1280       # 2.1 megapixels, multiples of the network's 128
SHARE = 0.3
NUMBERS = 1 << 25       # of the larger matrix of a product: 128 MiB, which any card binds
REPEATS = 10
WARM_STARTS = 5
SUITE_SECONDS = 300
PRECISIONS = "f32", "f16"
LIMITS = {"f32": 1e-4, "f16": 5e-3}     # of the difference to the CPU backend, of 1


# ---- the peer's process

def start_torch(precision, where):
    lmd_vit, torch = peers.import_peer()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True       # its kernels are chosen by measuring, as ours are
    if where == "cuda":
        torch.set_default_device(where)
    return lmd_vit, torch, torch.float16 if precision == "f16" else torch.float32


def median_seconds(torch, where, repeats, run):
    def wait():
        if where == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(repeats + 3):        # the first ones choose kernels and take memory
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def spread(torch, scores, share):
    """The windows that softlens bench --keep-share keeps: as many, at the same places."""
    n = scores.shape[0] * scores.shape[1]
    kept = min(max(int(share * n + 0.5), 1), n)
    i = torch.arange(n)
    steps = torch.div((i + 1) * kept, n, rounding_mode="floor")
    return (steps > torch.div(i * kept, n, rounding_mode="floor")).view(scores.shape[:2])


def torch_network(model_path, precision, shares, width, height, repeats, where):
    """shares: "0,0.3"; 0: every window and no predictors. Prints the median seconds of each."""
    lmd_vit, torch, dtype = start_torch(precision, where)
    model = lmd_vit.load_model(model_path).to(where).to(dtype)
    model.config["fade"] = None     # PyTorch is spared it; where it fades, softlens is not
    x = torch.rand(int(height), int(width), 3).to(where).to(dtype)

    def run_layer(name, x):
        for block in getattr(model, name).blocks:
            x = block(model, x, None)
        return x

    def dense():
        return model.gated(x[None], model.features(x[None], run_layer), {})

    for share in map(float, shares.split(",")):
        model.decide = lambda scores, threshold, share=share: spread(torch, scores, share)
        run = (lambda: model.infer(x)) if share > 0 else dense
        with torch.inference_mode():
            print(median_seconds(torch, where, int(repeats), run))


def torch_name():
    """Prints PyTorch's version and its card, a line each."""
    import torch
    print(torch.__version__, torch.cuda.get_device_name(), sep="\n")


def torch_products(precision, shapes, where):
    """shapes: "ROWSxKxN,...". Prints GFLOP/s for each, a line each."""
    _, torch, dtype = start_torch(precision, where)
    for shape in shapes.split(","):
        rows, k, n = (int(number) for number in shape.split("x"))
        a, b = torch.rand(rows, k).to(where).to(dtype), torch.rand(k, n).to(where).to(dtype)
        many = 20       # launched in one go: a single one measures the launch
        with torch.inference_mode():
            seconds = median_seconds(torch, where, REPEATS,
                                     lambda: [torch.matmul(a, b) for _ in range(many)]) / many
        print(2e-9 * rows * k * n / seconds)


# ---- softlens, and the table

def find_card(root, device):
    """What `softlens devices` tells of the card. Ends with a sentence where there is none."""
    program = os.path.join(root, "build", "softlens")
    bench = subprocess.run([program, "bench", "--device", device, "--size", "64x64", "--repeats",
                            "1", "--json", "--quiet"], capture_output=True, text=True, check=False)
    if bench.returncode != 0:
        sys.exit(f"gpu.sh: {device} cannot compute: {bench.stderr.strip()}")
    name = json.loads(bench.stdout)["device"]
    listed = json.loads(peers.measured([program, "devices", "--json"])[2])["devices"]
    card = {d["device"]: d for d in listed}.get(name.split(" ")[0], {})
    if card.get("type") in ("software", None):
        sys.exit(f"gpu.sh: no graphics card: {name} computes on the processor; install the card's "
                 "Vulkan driver (NVIDIA's is in libnvidia-gl-VERSION and wants libx11-6 and "
                 "libxext6; containers get it by NVIDIA_DRIVER_CAPABILITIES=all), or name a card "
                 "with DEVICE")
    return card


def use_same_card(card):
    """Of several cards PyTorch takes the first by its own count. By the card's UUID, which Vulkan
    and CUDA give alike, it takes the one that softlens computes on."""
    uuid = card["uuid"]
    name = "GPU-" + "-".join([uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]])
    try:
        known = subprocess.run(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
                               capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return
    if name in known:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", name)


def check(root, device):
    """Ends with a sentence where there is no card, or no PyTorch that can use one."""
    use_same_card(find_card(root, device))
    try:
        import numpy  # noqa: F401 (PyTorch may come without it)
        import torch
    except ImportError as error:
        sys.exit(f"gpu.sh: {sys.executable} has no {error.name}; name an interpreter that has "
                 "torch and numpy, with PYTHON")
    if not hasattr(torch, "set_default_device"):
        sys.exit(f"gpu.sh: PyTorch {torch.__version__} is older than 2.0")
    if not torch.cuda.is_available():
        sys.exit(f"gpu.sh: PyTorch {torch.__version__} has no CUDA device here; install one that "
                 "is built for this card")


def parity(root, device, model, side=256):
    """Ends with a sentence where a picture from the card is not what the CPU backend makes of it."""
    import numpy as np
    program = os.path.join(root, "build", "softlens")
    with tempfile.TemporaryDirectory() as scratch:
        x = os.path.join(scratch, "x.npy")
        np.save(x, np.random.default_rng(1).random((int(side), int(side), 3), dtype=np.float32))

        def output(name, *options):
            out = os.path.join(scratch, name)
            peers.measured([program, "run", model, "--input", x, "--output-dir", out, "--dense",
                            *options])
            return np.load(os.path.join(out, "output.npy"))

        want = output("cpu", "--device", "cpu")
        for precision in PRECISIONS:
            error = np.abs(output(precision, "--device", device, "--precision", precision) - want)
            print(f"{precision}: off by {error.max():.1e} of 1 at most")
            if not error.max() <= LIMITS[precision]:
                sys.exit(f"gpu.sh: {device} computes wrongly in {precision}: off by "
                         f"{error.max():.1e}, allowed is {LIMITS[precision]:.0e}")


# ---- the suites of gpu_bundle.sh

def run_suite(bundle, suite):
    """"OK", "SKIP" or "FAIL", as Meson has it; what it said is in bundle/NAME.log."""
    name = suite["name"]
    with open(os.path.join(bundle, name + ".log"), "w", encoding="utf-8") as log:
        try:
            code = subprocess.run([os.path.join(bundle, "suites", os.path.basename(suite["program"]))],
                                  env={**os.environ, **suite["env"]}, stdout=log, stderr=log,
                                  timeout=SUITE_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
    result = {0: "OK", 77: "SKIP"}.get(code, "FAIL")
    print(f"{result} {name}", flush=True)
    return result


def suites(bundle):
    """All of them, some at a time; fails if one does. The last line counts, as run_tests.sh's."""
    with open(os.path.join(bundle, "suites.json"), encoding="utf-8") as file:
        all_of_them = json.load(file)
    with futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda suite: run_suite(bundle, suite), all_of_them))
    skipped = results.count("SKIP")
    print(f"{results.count('OK')} passed, {results.count('FAIL')} failed"
          + (f", {skipped} skipped" if skipped else ""))
    sys.exit("FAIL" in results)


class Bench(peers.Bench):
    """The table in the file grows by each row: a machine may be lent for a short time."""

    def __init__(self, root, device, model, output, suites):
        super().__init__(root, None)
        self.device, self.model, self.output = device, model, output
        self.gemm = os.path.join(root, "build", "tools", "bench", "gemm-gpu")
        last = self.bench(model, "--size", "128x128", "--repeats", "1")
        peak = last["peak"]
        version, card = peers.measured([sys.executable, os.path.abspath(__file__), "torch",
                                        "name"])[2].splitlines()
        self.head = [
            f"{last['device']}, measured peak {peak['gflops']:.0f} GFLOP/s in f32 and "
            f"{peak['gbytes_per_second']:.0f} GB/s; PyTorch {version}, eager, on {card}. Times of "
            f"softlens include the picture's way to the card and back. Vulkan suites on the card: "
            f"{suites}.", ""]

    def row(self, *cells):
        super().row(*cells)
        peers.write_table(self.output, BEGIN, self.head + peers.HEADER + self.rows)

    def torch(self, *args):
        command = [sys.executable, os.path.abspath(__file__), "torch", *args]
        return peers.measured(command)[2].split()

    def network(self, precision):
        size = "x".join(map(str, SIZE))
        theirs = self.torch("network", self.model, precision, f"0,{SHARE}", *map(str, SIZE),
                            str(REPEATS), "cuda")
        dense = None
        for there, share, what, options in [
                (theirs[0], 1, "every window, no predictors", ["--dense"]),
                (theirs[1], SHARE, f"{SHARE:.0%} of the windows, predictors at work",
                 ["--keep-share", str(SHARE)])]:
            options = ["--precision", precision, "--size", size, *options]
            for _ in range(WARM_STARTS):
                self.bench(self.model, "--repeats", "1", *options)
            here = peers.check_share(self.bench(self.model, "--repeats", str(REPEATS), *options),
                                     share)
            seconds, there = here["median_seconds"], float(there)
            # Operations follow each other without a gap: what is left is copies and idle time.
            outside = 1 - sum(family["share"] for family in here["families"])
            than_dense = f", {dense / seconds:.2f}x faster than all of them" if dense else ""
            dense = dense or seconds
            self.row(f"published configuration, {size}, {precision}, {what}",
                     f"{seconds * 1e3:.1f} ms{than_dense}, {here.get('gflops', 0):.0f} GFLOP/s, "
                     f"{here.get('share_of_peak', 0):.0%} of the peak; {outside:.1%} of the run "
                     "outside of operations",
                     f"{there * 1e3:.1f} ms", f"{there / seconds:.2f}x",
                     " ".join(["softlens bench OFFICIAL", *options]))

    def products(self, precision):
        command = [self.gemm, self.device, precision, str(NUMBERS)]
        peers.measured(command)     # which finds out what serves best
        lines = peers.measured(command)[2].split("\n")
        mine = [line.split() for line in lines if line]
        shapes = ",".join("x".join(line[:3]) for line in mine)
        theirs = self.torch("products", precision, shapes, "cuda")
        for (rows, k, n, rate), other in zip(mine, theirs):
            self.row(f"{rows}x{k} times {k}x{n}, {precision}", f"{float(rate):.0f} GFLOP/s",
                     f"{float(other):.0f} GFLOP/s", f"{float(rate) / float(other):.2f}x",
                     f"gemm-gpu {self.device} {precision} {NUMBERS}")


def write_all(root, device, model, output, suites):
    use_same_card(find_card(root, device))
    bench = Bench(root, device, model, output, suites)
    for precision in reversed(PRECISIONS):      # f16 is what a card is for
        bench.network(precision)
        bench.products(precision)
    print(f"written to {output}")


if __name__ == "__main__":
    if sys.argv[1] == "torch":
        {"name": torch_name, "network": torch_network,
         "products": torch_products}[sys.argv[2]](*sys.argv[3:])
    else:
        {"check": check, "parity": parity, "suites": suites, "time": write_all}[sys.argv[1]](*sys.argv[2:])
