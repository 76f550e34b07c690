# SPDX-License-Identifier: MIT
"""More examples for the detector: photographs with masks, what these masks cut out, and the
classifier's small pictures.

Photographs and small pictures are records as those of detect_data.py. Nothing was looked for in them
beyond the one thing that they show, so they teach by their boxes alone; a label of -1 is something
that is none of the detector's classes. A small picture's box is vague: what it shows fills most of it.
"""

import csv
import os

import cv2
import numpy as np

import classify_data
import detect_data
import picture_file

NONE = -1
INSET = 0.06            # of a small picture's sides: where its box begins
LEAST_PART = 0.05       # of a mask's area: smaller parts are no thing of their own
WIDEST = 0.75           # of a person's height; what is wider may be two in one mask

# What the photographs of the folder sharp show, by words in their sources' names.
SOURCES_OF_PERSONS = ("clothing-co-parsing", "PennFudan", "Human-Segmentation")
PHOTOGRAPHS = {
    "dog": "retriever Doberman Pomeranian pug pinscher groenendael bluetick French_bulldog "
           "american_bulldog Kerry_blue Boston_bull cocker_spaniel Appenzeller briard sheepdog "
           "Pekinese greyhound pyrenees dataset/dog",
    "cat": "Siamese_cat Shorthair Maine_Coon Bengal dataset/cat",
    "horse": "sorrel",
    "truck": "fire_engine trailer_truck",
    "train": "locomotive bullet_train streetcar",
    "bird": "toucan hummingbird stork grouse dowitcher ptarmigan macaw hen.JPEG owl goose bittern "
            "cockatoo",
    "boat": "lifeboat catamaran",
    "": "badger skunk kit_fox marmot leopard proboscis spider_monkey warthog sea_lion mink beaver "
        "lesser_panda Komodo iguana harvester tractor hammerhead coho sturgeon "
        "_ant.JPEG cicada beetle crab snake kangaroo",
}

# What the classifier's small pictures show; of the rest one cannot say what else is in them.
SMALL = {
    "dog": "chihuahua|yorkshire terrier|golden retriever|german shepherd|poodle",
    "cat": "tabby cat|persian cat",
    "car": "station wagon|convertible|limousine|sports car",
    "bus": "trolleybus|school bus",
    "truck": "moving van",
    "motorcycle": "motorbike",
    "bird": "goose|black stork|albatross",
    "cow": "ox",
    "bear": "brown bear",
    "teddy bear": "teddy bear",
    "train": "freight car|bullet train",
    "elephant": "african elephant",
    "umbrella": "umbrella",
    "bottle": "beer bottle",
    "pizza": "pizza",
    "laptop": "laptop",
    "refrigerator": "refrigerator",
    "remote": "remote control",
    "orange": "orange",
    "keyboard": "computer keyboard",
    "": "fire salamander|bullfrog|alligator|boa constrictor|snail|dugong|cougar|lion|guinea pig|pig|"
        "gazelle|camel|orangutan|chimpanzee|red panda|bison|barn|birdhouse|obelisk|water tower|"
        "suspension bridge|viaduct|dam|cliff dwelling|cash machine|pay phone|abacus|"
        "sandal|mashed potato|cauliflower|mushroom|lemon|pomegranate|pretzel|guacamole|goldfish|koala|"
        "king penguin|tractor|kangaroo|hedgehog|rhino|rooster",
}

# Taught by name only where all of COCO's classes are; else they are something else like the rest.
SELDOM = {"boat", "refrigerator", "remote", "orange", "keyboard"}


def record(image, boxes, label, vague, classes):
    n = len(boxes)
    return {"image": image, "boxes": np.array(boxes, np.float32).reshape(-1, 4), "id": 0,
            "labels": np.full(n, label, np.int64), "crowd": np.zeros(n, bool),
            "vague": np.full(n, vague), "looked": np.zeros(classes, bool)}


def index_of(names):
    return {**{name: i for i, name in enumerate(names)}, "": NONE}


def called(name, names):
    """What a thing is among the classes `names`: "" for none of them, None if it is not to be shown."""
    if name in SELDOM and name not in names:
        return ""
    return name if name == "" or name in names else None


def shared_out(groups):
    """[(what is in a group, its share of all draws)] of {class: group}: by the roots of their sizes."""
    shares = np.sqrt([len(group) for group in groups.values()])
    return list(zip(groups.values(), shares / shares.sum()))


def parts(mask):
    """Corners [n, 4] of what a mask's separate parts span, without specks."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    spans = stats[1:count]
    spans = spans[spans[:, 4] > LEAST_PART * spans[:, 4].sum()]
    return [[x, y, x + w, y + h] for x, y, w, h, _ in spans.tolist()]


def spans_of(name, mask):
    """(corners int [n, 4] of the things in a mask, which of them may be several): a person's is cut
    into its parts, all else is one thing."""
    spans = np.array(parts(mask), int).reshape(-1, 4)
    if name == "person":
        sides = spans[:, 2:] - spans[:, :2]
        return spans, sides[:, 0] > WIDEST * sides[:, 1]
    return np.concatenate([spans[:, :2].min(0), spans[:, 2:].max(0)])[None], np.zeros(1, bool)


def shown(source, path):
    """The class that a photograph's source names, "" for none of ours, None where it is not said."""
    if any(word in source for word in SOURCES_OF_PERSONS):
        return "person"
    path = "kangaroo" if "kangaroo" in source else path
    return next((name for name, words in PHOTOGRAPHS.items()
                 if any(word in path for word in words.split())), None)


def masked(folder, names):
    """Of the folder sharp what has a mask and is known to show one of the names or something else,
    without validation pictures: [(name as of `shown`, image u8 RGB [h, w, 3], mask u8 [h, w])]."""
    found = []
    with open(os.path.join(folder, "index.csv"), newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"
                and row["has_mask"] == "1" and row["file"].startswith("photos/")]
    for row in rows:
        name = called(shown(row["source_repo"], row["source_path"]), names)
        if name is not None:
            image = picture_file.read(os.path.join(folder, row["file"]))
            stem = os.path.splitext(os.path.basename(row["file"]))[0]
            mask = picture_file.read(os.path.join(folder, "masks", stem + ".png"), cv2.IMREAD_GRAYSCALE)
            found.append((name, image, mask))
    return found


def photographs(pictures, names, longest):
    """Records of what `masked` gives. What may be a group is ignored."""
    index, records = index_of(names), []
    for name, image, mask in pictures:
        spans, crowd = spans_of(name, mask)
        image, factor = detect_data.shrunk(image, longest)
        records.append({**record(image, spans.astype(np.float32) * factor, index[name], False,
                                 len(names)), "crowd": crowd})
    return records


def cutouts(pictures, names, longest):
    """The things in what `masked` gives, but for what may be a group, as small_pictures gives its
    records: {"image": u8 RGB [h, w, 3], "alpha": f32 [h, w], "label": int}."""
    index, groups = index_of(names), {}
    for name, image, mask in pictures:
        spans, crowd = spans_of(name, mask)
        soft = cv2.GaussianBlur(mask, (3, 3), 0).astype(np.float32) / 255
        for x1, y1, x2, y2 in spans[~crowd]:
            piece, _ = detect_data.shrunk(image[y1:y2, x1:x2], longest)
            alpha = cv2.resize(soft[y1:y2, x1:x2], piece.shape[1::-1], interpolation=cv2.INTER_AREA)
            groups.setdefault(name, []).append(
                {"image": piece, "alpha": alpha, "label": index[name]})
    return shared_out(groups)


def small_pictures(folder, names, longest):
    """Of the folder classify what is there to be trained on: the trained classes' training pictures
    and the others' pictures to enroll; [(records of a class, their share of all draws)]."""
    index = index_of(names)
    known = {small: name for name, list_ in SMALL.items() for small in list_.split("|")}
    groups = {}
    for labels, archive, part in (("labels.tsv", "base-train.tar.gz", "train"),
                                  ("labels.tsv", "novel.tar.gz", "support"),
                                  ("large/labels.tsv", "large/novel.tar.gz", "support")):
        with open(os.path.join(folder, labels), newline="", encoding="utf-8") as file:
            words = {row["class_id"]: row["name"] for row in csv.DictReader(file, delimiter="\t")}
        for identity, picture in classify_data.pictures(os.path.join(folder, archive), part):
            name = called(known.get(words[identity]), names)
            if name is not None:
                image, _ = detect_data.shrunk(np.asarray(picture), longest)
                h, w = image.shape[:2]
                box = [w * INSET, h * INSET, w * (1 - INSET), h * (1 - INSET)]
                groups.setdefault(name, []).append(
                    record(image, [box], index[name], True, len(names)))
    return shared_out(groups)
