# SPDX-License-Identifier: MIT
"""Writes tests/detect/golden/coco/: annotations and detections at random and of the kinds that are
easily counted wrong, each with what pycocotools makes of them.

Usage: coco.py PYTHONAPI [DIR]. PYTHONAPI: the folder of that name of github.com/cocodataset/cocoapi, its
extension built. Wants numpy."""

import contextlib
import copy
import io
import json
import pathlib
import random
import sys
import types

import numpy as np


def load(path):
    """pycocotools from `path`, without the plots that it would import, on today's numpy."""
    for name in ("matplotlib", "matplotlib.pyplot", "matplotlib.collections", "matplotlib.patches"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["matplotlib.collections"].PatchCollection = None
    sys.modules["matplotlib.patches"].Polygon = None
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
    np.float = float
    sys.path.insert(0, path)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    return COCO, COCOeval


def evaluate(tools, truth, results):
    """Returns the twelve numbers and, by category, [ap, ap50]. Where an image says what was looked
    for, detections of the rest are taken away before."""
    COCO, COCOeval = tools
    labelled = {image["id"]: image.get("labelled") for image in truth["images"]}
    results = [copy.deepcopy(r) for r in results if labelled[r["image_id"]] is None or
               r["category_id"] in labelled[r["image_id"]]]
    with contextlib.redirect_stdout(io.StringIO()):
        have, found = COCO(), COCO()
        have.dataset = copy.deepcopy(truth)
        for annotation in have.dataset["annotations"]:
            annotation.setdefault("iscrowd", 0)
            annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
        have.createIndex()
        if results:
            found = have.loadRes(results)
        else:
            found.dataset = dict(have.dataset, annotations=[])
            found.createIndex()
        run = COCOeval(have, found, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, 2]    # [thresholds, recalls, categories]
    mean = lambda s: float(np.mean(s[s > -1])) if (s > -1).any() else -1.0
    classes = [[mean(precision[:, :, k]), mean(precision[:1, :, k])]
               for k in range(precision.shape[2])]
    return [float(x) for x in run.stats], classes


class Maker:
    """Pictures with objects and detections around them."""

    def __init__(self, seed, images=6, categories=3, objects=6, digits=1, scores=0):
        self.random = random.Random(seed)
        self.digits, self.scores = digits, scores
        ids = self.random.sample(range(1, 1000), images + categories)
        self.truth = {
            "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480}
                       for i in ids[:images]],
            "categories": [{"id": i, "name": f"class {i}"} for i in ids[images:]],
            "annotations": []}
        self.results = []
        for image in self.truth["images"]:
            for _ in range(self.random.randrange(objects + 1)):
                self.add(image["id"], self.category(), self.box())

    def category(self):
        return self.random.choice(self.truth["categories"])["id"]

    def box(self):
        side = self.random.choice([20, 40, 100, 250])
        w, h = (side * self.random.uniform(0.5, 1.5) for _ in range(2))
        return self.cut([self.random.uniform(0, 640 - w), self.random.uniform(0, 480 - h), w, h])

    def cut(self, box):
        box = [round(x, self.digits) for x in box]
        return box if self.digits else [int(x) for x in box]

    def near(self, box, shake):
        x, y, w, h = box
        move = lambda: self.random.uniform(-shake, shake)
        return self.cut([x + w * move(), y + h * move(), w * (1 + move()), h * (1 + move())])

    def score(self):
        if self.scores:
            return self.random.randrange(1, self.scores + 1) / self.scores
        return round(self.random.random(), 4)

    def add(self, image, category, box, **more):
        self.truth["annotations"].append(dict(
            {"id": len(self.truth["annotations"]) + 1, "image_id": image, "category_id": category,
             "bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0}, **more))

    def find(self, image, category, box, score=None):
        self.results.append({"image_id": image, "category_id": category, "bbox": box,
                             "score": self.score() if score is None else score})

    def detect(self, each=2, strays=3, shake=0.15):
        for a in self.truth["annotations"]:
            for _ in range(self.random.randrange(each + 1)):
                other = self.random.random() < 0.15
                self.find(a["image_id"], self.category() if other else a["category_id"],
                          self.near(a["bbox"], shake))
        for image in self.truth["images"]:
            for _ in range(self.random.randrange(strays + 1)):
                self.find(image["id"], self.category(), self.box())
        self.random.shuffle(self.results)
        return self


def plain(seed):
    return Maker(seed, images=6 + seed % 5, categories=1 + seed % 4, digits=1 + seed % 2).detect()


def crowds():
    m = Maker(20, objects=8).detect(each=3)
    for a in m.truth["annotations"][::3]:
        a["iscrowd"] = 1
    for a in m.truth["annotations"][1::6]:      # a crowd around a single object
        x, y, w, h = a["bbox"]
        m.add(a["image_id"], a["category_id"], m.cut([x - w, y - h, 3 * w, 3 * h]), iscrowd=1)
    return m


def areas():
    m = Maker(21, objects=10)
    for a, area in zip(m.truth["annotations"], [0, 1024, 9216, 1023.99, 1024.01, 9215.9, 9216.1,
                                                1e10, 1e10 + 1, 5e11] * 9):
        a["area"] = area
    return m.detect()


def exact():
    """Overlaps that meet a threshold to the last bit, or nearly, and areas on the borders."""
    m = Maker(22, images=3, categories=1, objects=0)
    c = m.category()
    for image in m.truth["images"]:
        for k, (w, part) in enumerate([(64, 32), (64, 48), (100, 55), (100, 95), (96, 72), (32, 16),
                                       (20, 13), (32, 32), (96, 96), (7, 3)]):
            m.add(image["id"], c, [60 * k, 10, w, 96 if w == 96 else 32])
            m.find(image["id"], c, [60 * k, 10, part, 96 if w == 96 else 32])
    return m


def many():
    m = Maker(23, images=2, categories=2, objects=0)
    for image in m.truth["images"]:
        for k in range(12):
            box = m.box()
            m.add(image["id"], m.truth["categories"][k % 2]["id"], box, iscrowd=int(k == 5))
            for _ in range(22):
                m.find(image["id"], m.truth["categories"][k % 2]["id"], m.near(box, 0.2))
    m.random.shuffle(m.results)
    return m


def ties():
    m = Maker(24, objects=5, digits=0, scores=3)
    for a in m.truth["annotations"][::2]:       # the same object twice, and once more elsewhere
        m.add(a["image_id"], a["category_id"], a["bbox"])
        m.find(a["image_id"], a["category_id"], a["bbox"], 0.5)
        m.find(a["image_id"], a["category_id"], a["bbox"], 0.5)
    m.detect(each=4, shake=0.3)
    for r in m.results[::5]:
        r["score"] = 0.5
    return m


def halves():
    """Two truths that a detection between them overlaps alike."""
    m = Maker(25, images=4, categories=1, objects=0)
    c = m.category()
    for i, image in enumerate(m.truth["images"]):
        for k in range(4):
            x = 150 * k
            m.add(image["id"], c, [x, 20, 80, 50], iscrowd=int(i == 1 and k < 2))
            m.add(image["id"], c, [x + 20, 20, 80, 50],
                  **({"area": 20000} if i == 2 and k % 2 else {}))
            m.find(image["id"], c, [x + 10, 20, 80, 50], 0.9 - 0.1 * k)
            m.find(image["id"], c, [x + 12, 20, 80, 50], 0.8 - 0.1 * k)
    return m


def empty_boxes():
    m = Maker(26, objects=4, digits=0)
    for image in m.truth["images"][::2]:
        m.add(image["id"], m.category(), [10, 10, 0, 40])
        m.add(image["id"], m.category(), [0, 0, 0, 0])
        m.find(image["id"], m.category(), [10, 10, 0, 40], 1)
        m.find(image["id"], m.category(), [-30, -20, 20, 0], -0.5)
    return m.detect()


def without(what):
    m = Maker(27, images=5, categories=3)
    m.detect()
    if what == "results":
        m.results = []
    elif what == "truths":
        m.truth["annotations"] = []
    elif what == "a class":
        gone = m.truth["categories"][1]["id"]
        m.truth["annotations"] = [a for a in m.truth["annotations"] if a["category_id"] != gone]
    elif what == "counted truths":
        for a in m.truth["annotations"]:
            a["iscrowd"] = 1
    else:                                       # classes without detections, images without both
        keep = m.truth["categories"][0]["id"]
        m.results = [r for r in m.results if r["category_id"] == keep]
        m.truth["images"] += [{"id": 5000 + i, "file_name": "x", "width": 9, "height": 9}
                              for i in range(3)]
    return m


def labelled():
    """Some images state what was looked for in them."""
    m = Maker(28, images=9, categories=4, objects=8).detect()
    ids = [c["id"] for c in m.truth["categories"]]
    chosen = {}
    for i, image in enumerate(m.truth["images"]):
        if i % 3:
            chosen[image["id"]] = image["labelled"] = ids[:i % 4] if i < 8 else []
    m.truth["annotations"] = [a for a in m.truth["annotations"] if a["image_id"] not in chosen or
                              a["category_id"] in chosen[a["image_id"]]]
    return m


def scarce():
    """Fields that may be left out, ids far from each other."""
    m = Maker(29).detect()
    names = {image["id"]: (1 << 40) * (-1) ** i - image["id"]
             for i, image in enumerate(m.truth["images"])}
    for image in m.truth["images"]:
        image["id"] = names[image["id"]]
    for entry in m.truth["annotations"] + m.results:
        entry["image_id"] = names[entry["image_id"]]
    for a in m.truth["annotations"]:
        a["id"] = 7 - 3 * a["id"]
    for a in m.truth["annotations"][::2]:
        del a["area"], a["iscrowd"]
    return m


def sets():
    yield from ((f"plain{seed}", plain(seed)) for seed in range(8))
    yield "crowds", crowds()
    yield "areas", areas()
    yield "exact", exact()
    yield "many", many()
    yield "ties", ties()
    yield "halves", halves()
    yield "empty-boxes", empty_boxes()
    for what in ("results", "truths", "a class", "counted truths", "pairs"):
        yield "without-" + what.replace(" ", "-"), without(what)
    yield "labelled", labelled()
    yield "scarce", scarce()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else root / "tests/detect/golden/coco"
    folder.mkdir(parents=True, exist_ok=True)
    tools = load(sys.argv[1])
    for name, made in sets():
        stats, classes = evaluate(tools, made.truth, made.results)
        text = json.dumps({"stats": stats, "classes": classes, "truth": made.truth,
                           "results": made.results}, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{name:24} AP {stats[0]:7.4f}, AP50 {stats[1]:7.4f}, AR100 {stats[8]:7.4f}, "
              f"{len(made.truth['annotations'])} truths, {len(made.results)} detections")


if __name__ == "__main__":
    main()
