# SPDX-License-Identifier: MIT
"""Reads detections in every format as others do: by Python's json, csv and ElementTree, by PyYAML,
against schemas that follow each format's published description, and by labelme itself where it is
installed.

Usage: detect_readers.py MAKER. Needs python3-jsonschema and python3-yaml."""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import jsonschema
import yaml

MAKER = sys.argv.pop(1) if len(sys.argv) > 1 else ""
BAD = "\ufffd"
LABELS = ["person", "say \"a,b\" <&>'", "tab\tline\nend \x01\x7f", f"bad {BAD}( \U0001f600",
          "M\u00fcller \u2603"]      # the last is what refining made up
NAMES = ["pics/plain.png", "pics/none.jpg", f"pics/b{BAD}d\tname.tar.png"]
SIZES = [(640, 480), (100, 50), (64, 32)]
# Of every picture: index of the label, score, box.
FOUND = [[(0, 0.9375, (10.5, 20.25, 110.5, 220.25)), (1, 0.5, (0, 0, 640, 480)),
          (4, 0.25, (300, 200, 300, 200))],
         [],
         [(0, 0.125, (-5, -6, 70, 40)), (2, 0.0625, (10, 10, 20, 20))]]

NUMBER, COUNT, TEXT = {"type": "number"}, {"type": "integer", "minimum": 0}, {"type": "string"}


def record(**members):
    """The schema of an object that has these members and no others."""
    return {"type": "object", "properties": members, "required": list(members),
            "additionalProperties": False}


def listing(items, length=None):
    schema = {"type": "array", "items": items}
    return schema | ({"minItems": length, "maxItems": length} if length else {})


OURS = record(picture=TEXT, width=COUNT, height=COUNT, seconds=NUMBER, device=TEXT,
              fell_back={"type": "boolean"},
              detections=listing(record(label=TEXT, **{"class": TEXT}, category=COUNT, score=NUMBER,
                                        refined={"type": ["number", "null"]}, x1=NUMBER, y1=NUMBER,
                                        x2=NUMBER, y2=NUMBER)))
# cocodataset.org, "Data format", 1. Object detection; a score as in its results format.
COCO = record(info={"type": "object"}, licenses=listing({"type": "object"}),
              images=listing(record(id=COUNT, file_name=TEXT, width=COUNT, height=COUNT)),
              annotations=listing(record(id=COUNT, image_id=COUNT, category_id=COUNT,
                                         bbox=listing(NUMBER, 4), area=NUMBER,
                                         iscrowd={"enum": [0, 1]},
                                         segmentation={"type": "array"}, score=NUMBER)),
              categories=listing(record(id=COUNT, name=TEXT, supercategory=TEXT)))
# labelme 5, label_file.py: the members that its loader asks for, and how it understands them.
LABELME = record(version={"type": "string", "pattern": r"^5\."}, flags={"type": "object"},
                 shapes=listing(record(label=TEXT, points=listing(listing(NUMBER, 2), 2),
                                       group_id={"type": ["integer", "null"]},
                                       shape_type={"const": "rectangle"},
                                       flags={"type": "object"}, score=NUMBER)),
                 imagePath=TEXT, imageData={"type": "null"}, imageHeight=COUNT, imageWidth=COUNT)


class Readers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        subprocess.run([MAKER, cls.folder.name], check=True)
        cls.out = pathlib.Path(cls.folder.name) / "out"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def json(self, path, schema):
        with open(self.out / path, encoding="utf-8") as file:
            data = json.load(file)
        jsonschema.validate(data, schema, cls=jsonschema.Draft7Validator)
        return data

    def check_ours(self, data, i):
        self.assertEqual((data["picture"], data["width"], data["height"]), (NAMES[i], *SIZES[i]))
        got = [(LABELS.index(d["label"]), d["score"], (d["x1"], d["y1"], d["x2"], d["y2"]))
               for d in data["detections"]]
        self.assertEqual(got, FOUND[i])

    def test_json(self):
        for i, name in enumerate(["one.json", "none.json"]):
            self.check_ours(self.json(name, OURS), i)
        refined = self.json("one.json", OURS)["detections"]
        self.assertEqual([d["refined"] for d in refined], [None, None, 0.75])
        self.assertEqual((refined[2]["class"], refined[2]["category"]), ("person", 0))

    def test_jsonl(self):
        lines = (self.out / "all.jsonl").read_text(encoding="utf-8").split("\n")
        self.assertEqual((len(lines), lines[-1]), (4, ""))
        for i, line in enumerate(lines[:-1]):
            jsonschema.validate(json.loads(line), OURS)
            self.check_ours(json.loads(line), i)
        self.assertEqual((self.out / "no.jsonl").read_bytes(), b"")

    def test_coco(self):
        data = self.json("all.coco.json", COCO)
        self.assertEqual([(i["file_name"], i["width"], i["height"]) for i in data["images"]],
                         [(n, *s) for n, s in zip(NAMES, SIZES)])
        self.assertEqual({c["id"]: c["name"] for c in data["categories"]},
                         dict(enumerate(LABELS, 1)))
        self.assertEqual([a["id"] for a in data["annotations"]], [1, 2, 3, 4, 5])
        ids = [i["id"] for i in data["images"]]
        got = [[] for _ in ids]
        for a in data["annotations"]:
            x, y, w, h = a["bbox"]
            self.assertEqual((a["area"], a["iscrowd"], a["segmentation"]), (w * h, 0, []))
            got[ids.index(a["image_id"])].append((a["category_id"] - 1, a["score"],
                                                  (x, y, x + w, y + h)))
        self.assertEqual(got, FOUND)

    def test_coco_of_nothing(self):
        data = self.json("no.coco.json", COCO)
        self.assertEqual((data["images"], data["annotations"], len(data["categories"])),
                         ([], [], 4))

    def test_yolo(self):
        folder = self.out / "all.yolo"
        data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
        self.assertEqual(data["names"], dict(enumerate(LABELS)))
        self.assertEqual((data["nc"], data["train"], data["val"]), (5, "images", "images"))
        stems = [b"plain", b"none", b"b\xffd\tname.tar"]
        self.assertEqual(sorted(os.listdir(os.fsencode(folder / "labels"))),
                         sorted(s + b".txt" for s in stems))
        for stem, (width, height), found in zip(stems, SIZES, FOUND):
            with open(os.path.join(os.fsencode(folder), b"labels", stem + b".txt"),
                      encoding="ascii") as file:
                rows = [line.split() for line in file.read().splitlines()]
            self.assertEqual(len(rows), len(found))
            for row, (label, _, box) in zip(rows, found):
                # As its loader checks: five columns, a class that there is, 0..1.
                self.assertEqual((len(row), int(row[0])), (5, label))
                cx, cy, w, h = map(float, row[1:])
                self.assertTrue(all(0 <= v <= 1 for v in (cx, cy, w, h)))
                want = [min(max(v, 0), side) for v, side in zip(box, (width, height) * 2)]
                got = [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width,
                       (cy + h / 2) * height]
                for a, b in zip(got, want):
                    self.assertAlmostEqual(a, b, delta=1e-3)

    def test_yolo_of_nothing(self):
        data = yaml.safe_load((self.out / "no.yolo/data.yaml").read_text(encoding="utf-8"))
        self.assertEqual(data["names"], dict(enumerate(LABELS[:4])))
        self.assertEqual(os.listdir(self.out / "no.yolo/labels"), [])

    def check_labelme(self, path, i, picture):
        data = self.json(path, LABELME)
        self.assertEqual((data["imageWidth"], data["imageHeight"]), SIZES[i])
        # The loader joins it to the file's directory, and opens that.
        self.assertEqual(data["imagePath"], picture)
        got = [(LABELS.index(s["label"]), s["score"], (*s["points"][0], *s["points"][1]))
               for s in data["shapes"]]
        self.assertEqual(got, FOUND[i])

    def test_labelme(self):
        self.check_labelme("labelme.json", 0, "../pics/plain.png")
        self.assertTrue((self.out / "../pics/plain.png").is_file())
        self.check_labelme("../pics/none-labelme.json", 1, "none.jpg")
        self.check_labelme("odd-labelme.json", 2, f"../{NAMES[2]}")

    def test_labelme_itself(self):
        try:
            from labelme.label_file import LabelFile      # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("labelme is not installed: it drags in Qt")
        file = LabelFile(str(self.out / "labelme.json"))
        self.assertEqual([(LABELS.index(s["label"]), s["other_data"]["score"]) for s in file.shapes],
                         [f[:2] for f in FOUND[0]])
        self.assertEqual([tuple(map(tuple, s["points"])) for s in file.shapes],
                         [(f[2][:2], f[2][2:]) for f in FOUND[0]])

    def test_cvat(self):
        root = ElementTree.parse(self.out / "all.xml").getroot()
        self.assertEqual((root.tag, root.find("version").text), ("annotations", "1.1"))
        shown = [label.replace("\x01", BAD) for label in LABELS]      # XML has no such character
        self.assertEqual([n.text for n in root.findall("meta/task/labels/label/name")], shown)
        images = root.findall("image")
        self.assertEqual([i.attrib for i in images],
                         [{"id": str(k), "name": n, "width": str(s[0]), "height": str(s[1])}
                          for k, (n, s) in enumerate(zip(NAMES, SIZES))])
        for image, found in zip(images, FOUND):
            got = [(shown.index(b.get("label")), float(b.find("attribute[@name='score']").text),
                    tuple(float(b.get(k)) for k in ("xtl", "ytl", "xbr", "ybr"))) for b in image]
            self.assertEqual(got, found)
            self.assertTrue(all(b.tag == "box" and b.get("occluded") == "0" for b in image))

    def test_cvat_of_nothing(self):
        root = ElementTree.parse(self.out / "no.xml").getroot()
        self.assertEqual((len(root.findall("image")), len(root.findall("meta/task/labels/label"))),
                         (0, 4))

    def test_csv(self):
        with open(self.out / "all.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        got = {name: [] for name in NAMES}
        for row in rows:
            self.assertEqual((int(row["width"]), int(row["height"])),
                             SIZES[NAMES.index(row["picture"])])
            if not row["rank"]:      # looked at, and nothing found
                self.assertFalse(any(list(row.values())[3:]))
                continue
            got[row["picture"]].append((LABELS.index(row["label"]), float(row["score"]),
                                        tuple(float(row[k]) for k in ("x1", "y1", "x2", "y2"))))
            self.assertEqual(int(row["rank"]), len(got[row["picture"]]))
        self.assertEqual(list(got.values()), FOUND)
        self.assertEqual([row["refined"] for row in rows], ["", "", "0.75", "", "1", ""])
        self.assertEqual((self.out / "no.csv").read_bytes().count(b"\r\n"), 1)


if __name__ == "__main__":
    unittest.main()
