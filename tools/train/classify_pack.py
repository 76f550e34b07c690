# SPDX-License-Identifier: MIT
"""The classification pictures in one small file, for training on a machine of its own.

Takes as much as it may: the archives' JPEG files without the headers that they share, if
these fit, else sheets of WebP at the best quality that does. DATA holds the folder `classify`; with
--objects also `detect`, whose boxes are cut out and become further classes. Of the validation
pictures only some go along, to watch by; the novel classes do not.
"""

import argparse
import collections
import concurrent.futures
import io
import json
import os
import tarfile

import numpy as np
from PIL import Image

import classify_data

SIDE, COLUMNS = classify_data.SIDE, 16
WATCH_QUALITY = 75
# Kinds of the boxes that show what a novel class shows, or may hold it on a plate or in a cup; and
# those that are among the base classes already, under a name as good or a finer one.
NOVEL_KINDS = {"pizza", "banana", "elephant", "bus", "keyboard", "train", "boat", "cup",
               "dining table", "bowl", "fork", "knife", "spoon", "laptop", "mouse"}
BASE_KINDS = {"teddy bear", "orange", "umbrella", "parking meter", "refrigerator", "remote",
              "backpack", "bottle", "cat", "dog", "car", "bear"}


def sheet(pictures):
    """uint8 [n, 64, 64, 3] -> one picture of them all, in rows of COLUMNS."""
    rows = -(-len(pictures) // COLUMNS)
    full = np.zeros((rows * COLUMNS, SIDE, SIDE, 3), np.uint8)
    full[:len(pictures)] = pictures
    full = full.reshape(rows, COLUMNS, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return full.reshape(rows * SIDE, COLUMNS * SIDE, 3)


def apart(whole, count):
    """The `count` pictures of a sheet."""
    rows = len(whole) // SIDE
    full = whole.reshape(rows, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4)
    return full.reshape(-1, SIDE, SIDE, 3)[:count]


def as_webp(pictures, quality):
    buffer = io.BytesIO()
    Image.fromarray(sheet(pictures)).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def squares(folder, most, least_side=32):
    """({kind: uint8 [n, 64, 64, 3]}) cut around the boxes of detect/train.json, largest first."""
    with open(os.path.join(folder, "train.json"), encoding="utf-8") as file:
        content = json.load(file)
    names = {c["id"]: c["name"] for c in content["categories"]}
    files = {i["id"]: i["file_name"] for i in content["images"]}
    boxes = collections.defaultdict(list)
    for box in content["annotations"]:
        kind = names[box["category_id"]]
        low, high = sorted(box["bbox"][2:])
        if kind not in NOVEL_KINDS | BASE_KINDS and not box.get("iscrowd") \
                and high >= 1.2 * least_side and low >= least_side / 2:
            boxes[kind].append(box)
    found = {}
    for kind, some in sorted(boxes.items()):
        some = sorted(some, key=lambda b: -b["area"])[:most]
        if len(some) >= 12:         # fewer teach nothing
            found[kind] = np.stack([cut(os.path.join(folder, "images", files[b["image_id"]]),
                                        b["bbox"]) for b in some])
    return found


def cut(path, box, context=1.15):
    """A square around a box, pushed inside of the picture where it can be."""
    picture = Image.open(path).convert("RGB")
    x, y, w, h = box
    side = min(max(w, h) * context, *picture.size)
    left = min(max(x + w / 2 - side / 2, 0), picture.width - side)
    top = min(max(y + h / 2 - side / 2, 0), picture.height - side)
    square = left, top, left + side, top + side
    return np.asarray(picture.resize((SIDE, SIDE), Image.LANCZOS, square))


def jpeg_parts(content):
    """A JPEG file as (all before the scan's data, without application segments; the data)."""
    head, at = content[:2], 2
    while True:
        marker, size = content[at + 1], int.from_bytes(content[at + 2:at + 4], "big")
        segment = content[at:at + 2 + size]
        at += 2 + size
        if not 0xe0 <= marker <= 0xef and marker != 0xfe:
            head += segment
        if marker == 0xda:
            return head, content[at:]


def archived(data, name):
    """[(label, JPEG file's content)] of an archive, in the order of classify_data.pictures."""
    archive_name, part = classify_data.ARCHIVES[name]
    order = {identity: i for i, (identity, _) in enumerate(classify_data.labels(data)["base"])}
    found = []
    with tarfile.open(os.path.join(data, archive_name)) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            folders = member.name.split("/")
            if member.isfile() and part in folders[:-1]:
                found.append((order[folders[-2]], archive.extractfile(member).read()))
    return found


def joined(parts):
    """Byte strings -> (all of them, where each ends)."""
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(p) for p in parts])


def lossless(files):
    """The JPEG files as arrays: the distinct heads once, and of every file which one it has."""
    heads, which, scans = {}, [], []
    for content in files:
        head, scan = jpeg_parts(content)
        which.append(heads.setdefault(head, len(heads)))
        scans.append(scan)
    arrays = dict(zip(("heads", "head_ends"), joined(list(heads))))
    arrays.update(zip(("scans", "scan_ends"), joined(scans)))
    arrays["which"] = np.array(which, np.uint16)
    return arrays


def groups(pictures, labels):
    """Of every label in turn its pictures."""
    return [pictures[labels == label] for label in np.unique(labels)]


def best_sheets(sets, room):
    """(quality, sheets): the best WebP that fits `room` bytes; halving finds it."""
    low, high, found = 1, 96, None
    with concurrent.futures.ThreadPoolExecutor() as pool:
        while low < high:
            quality = (low + high) // 2
            sheets = list(pool.map(lambda s: as_webp(s, quality), sets))
            total = sum(map(len, sheets))
            print(f"WebP of quality {quality}: {total} bytes", flush=True)
            if total <= room:
                found, low = (quality, sheets), quality + 1
            else:
                high = quality
    if not found:
        raise SystemExit("they do not fit, however coarse")
    return found


def pack(args):
    folder = os.path.join(args.data, "classify")
    names = [name for _, name in classify_data.labels(folder)["base"]]
    train = archived(folder, "base-train")
    watched = archived(folder, "base-val")
    watch_labels = np.array([label for label, _ in watched])
    chosen = np.concatenate([np.flatnonzero(watch_labels == c)[:args.watch]
                             for c in range(len(names))])
    watch = np.stack([decoded(watched[i][1]) for i in chosen])
    arrays = {"watch_labels": watch_labels[chosen].astype(np.int16)}
    arrays["watch"], arrays["watch_ends"] = joined([as_webp(watch, WATCH_QUALITY)])
    labels = np.array([label for label, _ in train], np.int16)
    objects = squares(os.path.join(args.data, "detect"), args.objects) if args.objects else {}
    counts = [len(p) for p in objects.values()]
    room = int(args.limit * 2 ** 20) - len(arrays["watch"]) - 20000
    jpegs = lossless([content for _, content in train])
    needed = sum(a.nbytes for a in jpegs.values())
    print(f"without loss: {needed} bytes of {room}; {len(objects)} further classes of "
          f"{sum(counts)} pictures", flush=True)
    if needed + 1000 * sum(counts) <= room:
        arrays.update(jpegs)
        sets = list(objects.values())
        room -= needed
    else:
        sets = groups(np.stack([decoded(content) for _, content in train]), labels)
        counts = [len(s) for s in sets] + counts
        sets += list(objects.values())
        labels = np.sort(labels)
    quality, sheets = best_sheets(sets, room) if sets else (0, [])
    arrays["sheets"], arrays["sheet_ends"] = joined(sheets)
    further = np.repeat(np.arange(len(objects)), [len(p) for p in objects.values()]) + len(names)
    arrays.update(labels=np.concatenate([labels, further]).astype(np.int16),
                  counts=np.array(counts, np.int32), names=np.array(names + list(objects)))
    with open(args.out, "wb") as file:
        np.savez(file, **arrays)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes, {len(labels) + len(further)} pictures, "
          f"WebP quality {quality}{', JPEG as it was' if 'scans' in arrays else ''}")


def pieces(content, ends):
    content = content.tobytes()
    return [content[a:b] for a, b in zip([0, *ends[:-1]], ends)]


def unpack(path, workers):
    """{"train", "watch": uint8 [n, 64, 64, 3]; their labels, int64; "names" of all classes}"""
    with np.load(path) as arrays:
        a = {k: arrays[k] for k in arrays.files}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        parts = []
        if "scans" in a:
            heads = pieces(a["heads"], a["head_ends"])
            files = (heads[w] + s for w, s in zip(a["which"], pieces(a["scans"], a["scan_ends"])))
            parts.append(np.stack(list(pool.map(decoded, files, chunksize=64))))
        sheets = pool.map(decoded, pieces(a["sheets"], a["sheet_ends"]))
        parts += [apart(whole, n) for whole, n in zip(sheets, a["counts"])]
        watch = apart(decoded(a["watch"].tobytes()), len(a["watch_labels"]))
    return {"train": np.concatenate(parts), "labels": a["labels"].astype(np.int64), "watch": watch,
            "watch_labels": a["watch_labels"].astype(np.int64),
            "names": [str(n) for n in a["names"]]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of classify/ and detect/")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--limit", type=float, default=28.5, help="MiB, at most; without loss it takes 28")
    parser.add_argument("--watch", type=int, default=5, help="validation pictures of a class")
    parser.add_argument("--objects", type=int, default=0, metavar="N",
                        help="further classes from detect's boxes, of at most N pictures")
    pack(parser.parse_args())


if __name__ == "__main__":
    main()
