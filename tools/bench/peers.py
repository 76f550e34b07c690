# SPDX-License-Identifier: MIT
"""softlens beside PyTorch: same weights, same machine, same number of threads. See run.sh.

The peer is tools/golden/lmd_vit.py. It runs in a process of its own (peers.py torch ...), as
softlens does, so that neither's threads or memory are in the other's way."""

import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "train"))
import blas  # noqa: E402

blas.settle()       # for the processes of the peer
BEGIN, END = "<!-- tools/bench/run.sh writes this -->", "<!-- up to here -->"
# For PyTorch a malloc that keeps its memory: otherwise half of its time goes into page faults.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000",
               "MALLOC_TOP_PAD_": "100000000"}
HEADER = ["| what | softlens | PyTorch | ratio | command |", "|---|---|---|---|---|"]
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
STARTS = 5      # of each program, of which the fastest counts


def import_peer():
    sys.path.insert(0, os.path.join(HERE, "..", "golden"))
    import lmd_vit
    import torch
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    return lmd_vit, torch


def torch_write(path):
    """The published configuration, with random weights."""
    lmd_vit, _ = import_peer()
    lmd_vit.save_model(lmd_vit.LmdVit(**lmd_vit.OFFICIAL), path)


def dense(model, x):
    """Every window, no predictors. x [1, H, W, 3] -> [H, W, 3]"""
    def run_layer(name, x):
        for block in getattr(model, name).blocks:
            x = block(model, x, None)
        return x
    return model.gated(x, model.features(x, run_layer), {}).clamp(0, 1)[0]


def torch_time(model_path, input_path, output_path, repeats, precision):
    """Prints the median seconds of `dense`; in bf16 as PyTorch itself chooses what it is for."""
    lmd_vit, torch = import_peer()
    import numpy as np
    model = lmd_vit.load_model(model_path)
    x = torch.from_numpy(np.load(input_path))[None]
    times = []
    in_bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), in_bf16:
        for _ in range(int(repeats) + 1):
            start = time.perf_counter()
            y = dense(model, x)
            times.append(time.perf_counter() - start)
    np.save(output_path, y.float().numpy())
    print(statistics.median(times[1:]))


def torch_deblur(model_path, photo, output):
    """A photograph from file to file, as softlens deblur does it."""
    lmd_vit, torch = import_peer()
    import numpy as np
    from PIL import Image
    model = lmd_vit.load_model(model_path)
    x = torch.from_numpy(np.asarray(Image.open(photo).convert("RGB"), np.float32) / 255)
    with torch.inference_mode():
        y = lmd_vit.deblur(model, x, "reflect")[0]
    Image.fromarray((y * 255).round().to(torch.uint8).numpy()).save(output, quality=92)


def measured(command, **environment):
    """(seconds, peak MiB, standard output) of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, **environment})
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return seconds, usage.ru_maxrss / 1024, text


def check_share(result, share):
    """result: of `softlens bench`. Ends with a sentence where it kept another share of the windows
    than was asked for: the time would be that of other work than its row tells. Each layer rounds
    to whole windows."""
    kept = result.get("kept_share")
    if kept is None or abs(kept - share) > (0.02 if share < 1 else 0):
        sys.exit(f"{result['model']}: {kept} of the windows were kept, and {share} asked for")
    return result


class Bench:
    device = "cpu"      # a card that "auto" may find is gpu.py's

    def __init__(self, root, scratch):
        self.softlens = os.path.join(root, "build", "softlens")
        self.model = os.path.join(root, "models", "lmd-vit-small.safetensors")
        self.sample = os.path.join(root, "data", "sample.jpg")
        self.scratch = scratch
        self.rows = []

    @functools.cached_property
    def has_bf16(self):
        devices = json.loads(measured([self.softlens, "devices", "--json"])[2])["devices"]
        return devices[0]["bf16"]       # the processor comes first

    def path(self, name):
        return os.path.join(self.scratch, name)

    def torch(self, *args):
        command = [sys.executable, os.path.abspath(__file__), "torch", *args]
        return measured(command, **KEEP_MEMORY)

    def bench(self, model, *args):
        text = measured([self.softlens, "bench", model, "--json", "--quiet", "--device",
                         self.device, "--threads", str(THREADS), *args])[2]
        return json.loads(text)

    def row(self, what, here, there, ratio, command):
        if command.startswith("softlens "):
            command += f" --device {self.device}"
        self.rows.append(f"| {what} | {here} | {there} | {ratio} | `{command}` |")
        print(self.rows[-1], flush=True)

    def official(self):
        import numpy as np
        model, x = self.path("official.safetensors"), self.path("x.npy")
        np.save(x, np.random.default_rng(1).random((512, 512, 3), dtype=np.float32))
        self.torch("write", model)
        peer = float(self.torch("time", model, x, self.path("y.npy"), "3", "f32")[2])
        dense = check_share(self.bench(model, "--size", "512x512", "--dense", "--repeats", "3"), 1)
        seconds = dense["median_seconds"]
        self.row("published configuration, 512x512, every window", f"{seconds:.2f} s, "
                 f"{dense['gflops']:.0f} GFLOP/s", f"{peer:.2f} s", f"{peer / seconds:.2f}x faster",
                 "softlens bench OFFICIAL --size 512x512 --dense")
        whole, part = (check_share(self.bench(model, "--size", "512x512", "--keep-share", str(share),
                                              "--repeats", "5"), share)["median_seconds"]
                       for share in (1, 0.3))
        self.row("the same with its predictors at work, every window kept", f"{whole:.2f} s", "",
                 "", "softlens bench OFFICIAL --size 512x512 --keep-share 1")
        self.row("the same with its predictors at work, 30 % of the windows kept",
                 f"{part:.2f} s: {whole / part:.2f}x faster than all of them, {seconds / part:.2f}x "
                 "faster than without predictors", "", "",
                 "softlens bench OFFICIAL --size 512x512 --keep-share 0.3")
        error = self.error(model, x)
        self.row("largest difference of a sample between the two, of 1", f"{error:.1e}", "", "",
                 "softlens run OFFICIAL --input x.npy --output-dir out --dense")
        if self.has_bf16:
            self.official_bf16(model, x)

    def official_bf16(self, model, x):
        peer = float(self.torch("time", model, x, self.path("z.npy"), "3", "bf16")[2])
        options = "--dense", "--precision", "bf16"
        seconds = check_share(self.bench(model, "--size", "512x512", *options, "--repeats", "3"),
                              1)["median_seconds"]
        error = self.error(model, x, "--precision", "bf16")
        self.row(f"every window, in bf16 (largest difference to f32: {error:.1e})",
                 f"{seconds:.2f} s", f"{peer:.2f} s", f"{peer / seconds:.2f}x faster",
                 " ".join(["softlens bench OFFICIAL --size 512x512", *options]))

    def error(self, model, x, *options):
        """The largest difference to what PyTorch makes of it in f32."""
        import numpy as np
        out = self.path("run")
        measured([self.softlens, "run", model, "--input", x, "--output-dir", out, "--dense",
                  "--overwrite", "--device", self.device, "--threads", str(THREADS), *options])
        return np.abs(np.load(os.path.join(out, "output.npy")) - np.load(self.path("y.npy"))).max()

    def large(self):
        """4000x3000: the sample photograph over a quarter of it, a sharp one over the rest."""
        import skimage
        from PIL import Image
        sharp = os.path.join(os.path.dirname(skimage.__file__), "data", "coffee.png")
        large = Image.new("RGB", (4000, 3000))
        for path, width, height in [(sharp, 4000, 3000), (self.sample, 2000, 1500)]:
            photo = Image.open(path).convert("RGB")
            for y in range(0, height, photo.height):
                for x in range(0, width, photo.width):
                    box = 0, 0, min(photo.width, width - x), min(photo.height, height - y)
                    large.paste(photo.crop(box), (x, y))
        large.save(self.path("12mp.jpg"), quality=92)

    def shipped(self):
        self.large()
        base = os.path.join(os.path.dirname(self.model), "lmd-vit-base.safetensors")
        for what, *options in [("looked at in several sizes",),
                               ("the same by the base model", "--model", base),
                               *[("the same in bf16", "--model", base, "--precision", "bf16")]
                               * self.has_bf16,
                               ("at full size alone, as the model decides", "--shrink", "1"),
                               ("at full size alone, every window", "--shrink", "1", "--dense"),
                               ("four times smaller alone", "--shrink", "4")]:
            seconds, mib, text = measured(
                [self.softlens, "deblur", self.path("12mp.jpg"), "-o", self.path("out.jpg"),
                 "--overwrite", "--json", "--quiet", "--model", self.model, "--device", self.device,
                 "--threads", str(THREADS), *options])
            kept = json.loads(text)["kept_share"]
            command = " ".join(["softlens deblur 12mp.jpg", *options]).replace(base, "lmd-vit-base")
            self.row("shipped model, 12 megapixels, a quarter of them blurred, from file to file, "
                     f"{what} ({kept:.0%} kept)",
                     f"{seconds:.1f} s, peak {mib:.0f} MiB", "", "", command)

    def start(self):
        from PIL import Image
        photo, out = self.path("256.jpg"), self.path("256-out.jpg")
        Image.open(self.sample).crop((128, 0, 384, 256)).save(photo, quality=92)
        command = [self.softlens, "deblur", photo, "-o", out, "--overwrite", "--quiet", "--model",
                   self.model, "--device", self.device, "--threads", str(THREADS)]
        here, there = [], []
        for _ in range(STARTS):
            here.append(measured(command)[:2])
            there.append(self.torch("deblur", self.model, photo, out)[:2])
        here, there = min(here), min(there)
        self.row("shipped model, a 256x256 JPEG from file to file, start-up included",
                 f"{here[0] * 1000:.0f} ms, peak {here[1]:.0f} MiB",
                 f"{there[0] * 1000:.0f} ms, peak {there[1]:.0f} MiB",
                 f"{there[0] / here[0]:.0f}x faster, {there[1] / here[1]:.0f}x less memory",
                 "softlens deblur 256.jpg")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {THREADS} threads"


def write_table(path, begin, lines):
    """Puts lines between the marks in the file; one that is missing is made."""
    text = f"{begin}\n{END}\n"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
    before, mark, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        sys.exit(f"{path}: put two lines where the table is to go, {begin} and {END}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + begin + "\n" + "\n".join(lines) + "\n" + END + after)


def main():
    root, output = sys.argv[1:3]
    version = measured([sys.executable, "-c", "import torch; print(torch.__version__)"])[2].strip()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(root, scratch)
        bench.official()
        bench.shipped()
        bench.start()
    write_table(output, BEGIN, [f"{machine()}; PyTorch {version}.", "", *HEADER, *bench.rows])


if __name__ == "__main__":
    if sys.argv[1] == "torch":
        {"write": torch_write, "time": torch_time, "deblur": torch_deblur}[sys.argv[2]](
            *sys.argv[3:])
    else:
        main()
