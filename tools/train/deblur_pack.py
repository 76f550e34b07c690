# SPDX-License-Identifier: MIT
"""Packs what blurred pictures are made of, sharp photographs for training, their masks and cut-outs,
into one file that train_deblur_card.py reads alone. No photograph for validation is in it."""

import argparse
import concurrent.futures

import cv2
import numpy as np

import deblur_synth

LONGEST = 577           # no training picture is larger
QUALITIES = range(95, 40, -3)


def compressed(kind, image, quality):
    """The bytes of a picture in WebP, or in PNG for what must stay exact; OpenCV's channels."""
    if kind == "mask":
        return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]


def pictures(data, count):
    """[(kind, number of the photograph or cut-out, picture)]; [n]: the number of each photograph's set"""
    source, found = deblur_synth.Source(data), []
    of_photos = [source.set_of[name] for name in source.photos[:count]]
    for i, name in enumerate(source.photos[:count]):
        photo = source.photo(name, LONGEST)
        found.append(("photo", i, np.ascontiguousarray(photo[..., ::-1])))
        if name in source.masked:
            mask = source.mask(name, photo.shape)
            found.append(("mask", i, np.round(mask * 255).astype(np.uint8)))
    for i, name in enumerate(source.cutouts[:count]):
        rgba = deblur_synth.fit(source.cutout(name), LONGEST)
        found.append(("cutout", i, cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)))
    return found, np.unique(of_photos, return_inverse=True)[1]


def write(path, found, sets, blobs, quality):
    """An archive of arrays: the blobs end to end, and the table that tells them apart."""
    kinds = np.array([("photo", "mask", "cutout").index(kind) for kind, _, _ in found], np.int64)
    numbers = np.array([number for _, number, _ in found], np.int64)
    ends = np.cumsum([len(blob) for blob in blobs], dtype=np.int64)
    with open(path, "wb") as file:
        np.savez(file, kind=kinds, number=numbers, end=ends, sets=sets, quality=np.int64(quality),
                 data=np.concatenate([np.asarray(blob, np.uint8).ravel() for blob in blobs]))


def read(path):
    """(photos, masks, cutouts), lists of encoded pictures, a mask is None where there is none; and
    the number of each photograph's set."""
    with np.load(path) as pack:
        kind, number, end, data, sets = (pack[k] for k in ("kind", "number", "end", "data", "sets"))
    start = np.concatenate([[0], end[:-1]])
    photos = [None] * int((kind == 0).sum())
    masks, cutouts = list(photos), [None] * int((kind == 2).sum())
    for k, n, a, b in zip(kind, number, start, end):
        (photos, masks, cutouts)[k][n] = data[a:b]
    return photos, masks, cutouts, sets


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of index.csv, as of deblur_pairs.py")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--limit", type=float, default=31.5, help="MiB, at most")
    parser.add_argument("--quality", type=int, help="of WebP, instead of the highest that fits")
    parser.add_argument("--count", type=int, help="so many of each kind at most, for trying out")
    args = parser.parse_args()
    found, sets = pictures(args.data, args.count)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for quality in [args.quality] if args.quality else QUALITIES:
            blobs = list(pool.map(lambda f, q=quality: compressed(f[0], f[2], q), found))
            size = sum(len(blob) for blob in blobs) / 2 ** 20
            print(f"quality {quality}: {size:.1f} MiB", flush=True)
            if size <= args.limit:
                break
        else:
            raise SystemExit("no quality fits; allow more with --limit or take fewer with --count")
    write(args.out, found, sets, blobs, quality)


if __name__ == "__main__":
    main()
