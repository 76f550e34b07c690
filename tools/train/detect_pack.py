# SPDX-License-Identifier: MIT
"""All that the detector's trainer on a graphics card reads, in one file of a given size.

A zip without compression: index.json and the pictures as WebP. It holds the annotated photographs that
are trained on, the masked photographs and as many of the classifier's small pictures as still fit.
Labels count in the order of `names`, the annotations' categories; -1 is something that is none of them.
"""

import argparse
import json
import os
import zipfile
from concurrent import futures

import cv2
import numpy as np

import detect_data
import detect_more

GROUPS = "annotated", "photographs", "small"
OVERHEAD = 300                      # of an entry in bytes: names, headers, its part of the index


def webp(image, quality):
    ok, content = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                               [cv2.IMWRITE_WEBP_QUALITY, quality])
    assert ok
    return content.tobytes()


def png(mask):
    ok, content = cv2.imencode(".png", (mask > 127).astype(np.uint8) * 255,
                               [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert ok
    return content.tobytes()


def described(group, record):
    """A record of detect_data.py without its picture, as JSON has it."""
    return {"group": group, "boxes": [[round(float(v), 2) for v in box] for box in record["boxes"]],
            "labels": record["labels"].tolist(), "crowd": record["crowd"].astype(int).tolist(),
            "looked": "".join("01"[int(v)] for v in record["looked"])}


class Writer:
    """Pictures one after another, and at last the index."""

    def __init__(self, path):
        self.zip, self.records, self.size = zipfile.ZipFile(path, "w"), [], 0

    def add(self, entry, content, mask=None):
        place = len(self.records)
        for suffix, part in (("webp", content), ("png", mask)):
            if part is not None:
                self.zip.writestr(f"{place}.{suffix}", part)
                self.size += len(part) + OVERHEAD
        self.records.append({**entry, "mask": int(mask is not None)})

    def close(self, names):
        index = json.dumps({"names": names, "records": self.records}, separators=(",", ":"))
        self.zip.writestr("index.json", index, zipfile.ZIP_DEFLATED)
        self.zip.close()


def in_turn(groups):
    """One thing of each group after the other, until all are empty."""
    groups = [list(group) for group in groups]
    while any(groups):
        for group in groups:
            if group:
                yield group.pop()


def pack(args):
    with open(os.path.join(args.data, "detect", "train.json"), encoding="utf-8") as file:
        names = [c["name"] for c in json.load(file)["categories"]]
    writer = Writer(args.out)
    annotated = detect_data.read(os.path.join(args.data, "detect", "train.json"),
                                 os.path.join(args.data, "detect", "images"), names, args.longest,
                                 args.complete)
    for r in annotated[:args.count]:
        writer.add(described("annotated", r), webp(r["image"], args.quality))
    masked = detect_more.masked(os.path.join(args.data, "sharp"), names)[:args.count]
    for (_, image, mask), r in zip(masked, detect_more.photographs(masked, names, args.masked)):
        h, w = r["image"].shape[:2]
        small = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA)
        writer.add(described("photographs", r), webp(r["image"], args.quality - 10), png(small))
    rng, many = np.random.default_rng(1), []
    for group, _ in detect_more.small_pictures(os.path.join(args.data, "classify"), names, args.longest):
        many.append([group[i] for i in rng.permutation(len(group))[:args.count]])
    for r in in_turn(many):
        content = webp(r["image"], args.quality)
        if writer.size + len(content) + OVERHEAD > args.limit * 2 ** 20 - 400_000:  # the index, roughly
            break
        writer.add(described("small", r), content)
    writer.close(names)
    counts = [sum(r["group"] == group for r in writer.records) for group in GROUPS]
    print(f"{args.out}: {os.path.getsize(args.out)} bytes, " +
          ", ".join(f"{n} {group}" for n, group in zip(counts, GROUPS)))


def unpacked(path, threads):
    """(names, the records with "image": u8 RGB [h, w, 3] and "alpha": u8 [h, w] or None)"""
    with zipfile.ZipFile(path) as file:
        index = json.loads(file.read("index.json"))
        contents = [(file.read(f"{i}.webp"), file.read(f"{i}.png") if r["mask"] else None)
                    for i, r in enumerate(index["records"])]

    def decoded(content):
        picture, mask = content
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if mask is not None:
            mask = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE)
            mask = cv2.GaussianBlur(mask, (3, 3), 0)
        return {"image": cv2.cvtColor(image, cv2.COLOR_BGR2RGB), "alpha": mask}

    with futures.ThreadPoolExecutor(threads) as pool:       # OpenCV lets go of the interpreter
        found = list(pool.map(decoded, contents))
    return index["names"], [{**r, **f} for r, f in zip(index["records"], found)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of detect/, sharp/ and classify/")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--limit", type=float, default=24, help="MiB, at most")
    parser.add_argument("--count", type=int, help="so many of each kind at most, for trying out")
    parser.add_argument("--longest", type=int, default=400, help="of a picture, in pixels")
    parser.add_argument("--masked", type=int, default=320, help="as --longest, of those with masks")
    parser.add_argument("--quality", type=int, default=56, help="of WebP; photographs have 10 less")
    parser.add_argument("--complete", nargs="*", default=["raccoon"], metavar="NAME",
                        help="as train_detect.py has it")
    pack(parser.parse_args())


if __name__ == "__main__":
    main()
