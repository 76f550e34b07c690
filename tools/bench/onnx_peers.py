# SPDX-License-Identifier: MIT
"""softlens beside ONNX Runtime: same weights, same machine, same number of threads. See onnx.sh.

    onnx_peers.py ROOT MODULE README    MODULE: the folder of onnxruntime-node

The networks of tools/golden are exported by PyTorch, in a process of their own (onnx_peers.py export
...). ONNX Runtime keeps a network in memory as softlens bench does, and is timed without loading."""

import json
import os
import sys
import tempfile

import peers
import soft_peers

HERE = peers.HERE
BEGIN = "<!-- tools/bench/onnx.sh writes this -->"
HEADER = [line.replace("PyTorch", "ONNX Runtime") for line in peers.HEADER]
OPSET = 17
# The detector's maps in the order in which both give them.
MAPS = [f"{kind}_P{level}" for level in range(3, 8) for kind in ("cls", "reg")]
# name, what is told of it, the side of its picture, repeats, which files of `softlens run` together
# are the network's answer
NETWORKS = (("soft-tiny", "SOFT-Tiny, 224x224", 224, 20, ["logits"]),
            ("soft-norm-tiny", "SOFT-Norm-Tiny, 224x224", 224, 20, ["logits"]),
            ("official", "LMD-ViT, published configuration, 512x512, every window", 512, 3, ["output"]),
            ("detector", "the shipped detector's network, 448x448", 448, 10, MAPS))


# ---- the process that exports

def plain_attention(torch):
    """The mask comes from regions' numbers, [windows, tokens], as in the official code: written out it
    would be a constant of many megabytes a block."""
    import numpy as np

    def attend(self, qkv, heads, bias, mask):
        n, t, c = qkv.shape
        q, k, v = qkv.view(n, t, 3, heads, c // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(2, 3) + bias
        if mask is not None:
            regions = np.zeros((n, t), np.float32)
            regions[mask[0].numpy()] = (mask[1][:, 0].numpy() == 0).argmax(-1)
            region = torch.from_numpy(regions)
            apart = region[:, :, None] != region[:, None, :]
            scores = scores + (apart.to(torch.float32) * -100.0)[:, None]
        return (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(n, t, c // 3)
    return attend


def plain_convolution(torch):
    """One kernel per head, repeated for its channels in a way whose shape the exporter can follow."""
    def convolve(self, v, h, w):
        b, heads, n, d = map(int, v.shape)      # constants
        x = v.transpose(2, 3).reshape(b, heads * d, h, w)
        kernels = self.conv.weight
        size = kernels.shape[2:]
        kernels = kernels.unsqueeze(1).expand(-1, d, -1, -1, -1).reshape(heads * d, 1, *size)
        y = torch.nn.functional.conv2d(x, kernels, padding=self.conv.padding, groups=heads * d)
        return y.view(b, heads, d, n).transpose(2, 3)
    return convolve


def classifier(torch, path, inverse):
    soft, _, _ = soft_peers.import_peer()
    soft.SoftAttention.convolve = plain_convolution(torch)
    soft_peers.torch_write(path, inverse, "ratio")
    return soft.load_model(path), lambda net, x: net(x.permute(0, 3, 1, 2))["logits"][0]


def plain_pooling(torch):
    """Cells of one size, which is what there is at the detector's sides."""
    def pool(x, side):
        size = int(x.shape[2]) // side
        assert size * side == int(x.shape[2]) == int(x.shape[3])
        return torch.nn.functional.avg_pool2d(x, size)
    return pool


def detector(torch, path):
    import retina
    import soft
    soft.SoftAttention.convolve = plain_convolution(torch)
    soft.F.adaptive_avg_pool2d = plain_pooling(torch)

    def run(net, x):
        maps = net(x.permute(0, 3, 1, 2))
        return torch.cat([maps[name].flatten() for name in MAPS])
    return retina.load_model(path)[0], run


def deblurrer(torch, path):
    lmd_vit, _ = peers.import_peer()
    lmd_vit.LmdVit.attend = plain_attention(torch)
    peers.torch_write(path)
    return lmd_vit.load_model(path), peers.dense


def export(name, side, model_path, folder):
    """x.npy and x.raw, a picture [side, side, 3]; network.onnx, whose first answer is "y"."""
    import numpy as np
    import torch
    sys.path.insert(0, os.path.join(HERE, "..", "golden"))
    torch.set_num_threads(peers.THREADS)
    make = {"soft-tiny": lambda: classifier(torch, model_path, "soft"),
            "soft-norm-tiny": lambda: classifier(torch, model_path, "norm"),
            "detector": lambda: detector(torch, model_path),
            "official": lambda: deblurrer(torch, model_path)}
    net, run = make[name]()

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return run(self.net, x)

    x = np.random.default_rng(1).random((int(side), int(side), 3), dtype=np.float32)
    np.save(os.path.join(folder, "x.npy"), x)
    x.tofile(os.path.join(folder, "x.raw"))
    whole, x = Whole().eval(), torch.from_numpy(x)[None]
    with torch.no_grad():
        whole(x)        # what it keeps for the next time is a constant then
        torch.onnx.export(whole, x, os.path.join(folder, "network.onnx"), opset_version=OPSET,
                          input_names=["x"], output_names=["y"], do_constant_folding=False)


# ---- the comparison

def onnx(module, folder, side, repeats):
    files = [os.path.join(folder, n) for n in ("network.onnx", "x.raw", "y.raw")]
    return float(peers.measured(["node", os.path.join(HERE, "onnx_time.js"), module, *files,
                                 str(peers.THREADS), str(repeats), "1", str(side), str(side), "3"])[2])


def apart(root, folder, model, outputs, dense):
    """The largest difference of the answers, of their range; of several maps, that of the worst."""
    import numpy as np
    soft_peers.softlens(root, "run", model, "--input", os.path.join(folder, "x.npy"),
                        "--output-dir", folder, *dense)
    got = [np.load(os.path.join(folder, output + ".npy")).flatten() for output in outputs]
    want = np.fromfile(os.path.join(folder, "y.raw"), np.float32)
    ends = np.cumsum([part.size for part in got])
    if want.size != ends[-1]:
        sys.exit(f"{model}: an answer of {ends[-1]} numbers, and ONNX Runtime's has {want.size}")
    return max(np.abs(a - b).max() / np.ptp(a) for a, b in zip(np.split(want, ends[:-1]), got))


def compare(root, module, name, what, side, repeats, outputs):
    """A row: the best of the rounds' medians, so that what disturbs one round counts for neither."""
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, name + ".safetensors")
        if name == "detector":
            model = os.path.join(root, "models", "retina-soft-small.safetensors")
        peers.measured([sys.executable, "-W", "ignore", os.path.abspath(__file__), "export", name,
                        str(side), model, folder])
        dense = ["--dense"] if name == "official" else []
        here, there = [], []
        for _ in range(soft_peers.ROUNDS):
            result = soft_peers.bench(root, model, "--size", f"{side}x{side}", "--repeats",
                                      str(repeats), *dense)
            if dense:
                peers.check_share(result, 1)
            here.append(result["median_seconds"])
            there.append(onnx(module, folder, side, repeats))
        error = apart(root, folder, model, outputs, dense)
    seconds, peer = min(here), min(there)
    command = " ".join([f"softlens bench {name.upper()} --size {side}x{side}", *dense])
    print(f"{name}: {here}, ONNX Runtime {there}", flush=True)
    return (f"| {what}; answers within {error:.0e} of their range | {1000 * seconds:.1f} ms | "
            f"{1000 * peer:.1f} ms | {peer / seconds:.2f}x faster | `{command} --device cpu` |")


def main(root, module, readme):
    with open(os.path.join(module, "package.json"), encoding="utf-8") as file:
        version = json.load(file)["version"]
    rows = [compare(root, module, *network) for network in NETWORKS]
    lines = [f"{peers.machine()}; ONNX Runtime {version}.", "", *HEADER, *rows]
    print("\n".join(lines))
    peers.write_table(readme, BEGIN, lines)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
