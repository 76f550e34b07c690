# SPDX-License-Identifier: MIT
"""Measures classification models: base classes, few shots, joint ranking, and "unknown".

    python3 tools/eval/classify.py --data DATA --model linear=A.safetensors --model ebv=B.safetensors \
        --model hyperspherical=C.safetensors --photographs FOLDER FOLDER

Unknown: known pictures are the half of base/val by which nothing was fitted; unknown ones the novel
classes' query pictures, the larger pictures of other sets, and photographs of another kind.
"""

import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "golden"), os.path.join(HERE, "..", "train")]
import episodes  # noqa: E402
import features  # noqa: E402
import reject  # noqa: E402
import safetensors  # noqa: E402

SETS = ("base-val", "novel-support", "novel-query")
LARGER = ("larger-support", "larger-query")
SCORES = ("softmax", "cosine", "pool3", "pool4", "embedding", "fused")


class Pictures:
    """All pictures of the measurement: {set: list of PIL} and {set: labels}."""

    def __init__(self, args):
        data = features.Data(args.data)
        found = {name: data.labelled(name) for name in SETS}
        found.update((name, data.large(name.split("-")[1])) for name in LARGER)
        self.sets = {name: pictures for name, (pictures, _) in found.items()}
        self.labels = {name: labels for name, (_, labels) in found.items()}
        if args.photographs:
            self.sets["photographs"] = features.photographs(args.photographs, args.photograph_limit)


class Measured:
    """A model's answers for all sets, with what its file says."""

    def __init__(self, path, args, pictures):
        self.tensors, metadata = safetensors.load(path)
        self.reject = json.loads(metadata["reject"])
        engine = features.TorchEngine(path) if args.engine == "pytorch" \
            else features.SoftlensEngine(path, args.binary)
        self.config = engine.config
        self.answers = {name: features.of(engine, some) for name, some in pictures.sets.items()}
        self.answers["larger"] = {k: np.concatenate([self.answers[n][k] for n in LARGER])
                                  for k in self.answers[LARGER[0]]}
        self.alone = self.answers["base-val"]
        if self.config["mirror"]:
            engine.config = {**self.config, "mirror": False}
            self.alone = features.of(engine, pictures.sets["base-val"])

    def directions(self):
        """Of the trained classes: the file's; of a linear head the class means."""
        own = self.tensors.get("directions")
        means = self.tensors["reject.embedding.means"] if own is None else own
        return episodes.unit(np.asarray(means, np.float32))

    def scores(self, name):
        """{kind: confidence [n]} of a set."""
        answers = self.answers[name]
        logits = answers["logits"] / self.config["temperature"]
        found = {"softmax": episodes.softmax(logits).max(1),
                 "cosine": (episodes.unit(answers["embedding"]) @ self.directions().T).max(1)}
        layers = reject.layer_scores(answers, (self.tensors, self.reject))
        found.update(zip(self.reject["layers"], layers.T))
        found["fused"] = reject.fused(layers, self.reject["bias"], self.reject["weights"])
        return found


def untrained(pictures):
    """The default backbone before training, its batch statistics taken from pictures."""
    import torch
    import train_classify
    sys.argv = ["", "--store", "", "--out", "", "--head", "linear", "--plain"]
    model = train_classify.network(train_classify.arguments())
    batch = np.stack([features.prepared(p, model.config) for p in pictures[::4]])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None      # the plain mean of what it sees
    with torch.no_grad():
        model.train()(features.classify_data.normalised(batch))
    return features.TorchEngine(model=model)


def percent(value, half=None):
    return f"{100 * value:.1f}" + ("" if half is None else f" +- {100 * half:.1f}")


def table(title, columns, rows):
    print(f"\n## {title}\n\n| | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def base_table(models, labels):
    rows = [(f"top-{top}", *(percent(*episodes.accuracy(m.answers["base-val"]["logits"], labels,
                                                        top)) for m in models.values()))
            for top in (1, 5)]
    rows.append(("top-1 without the mirror image", *(percent(*episodes.accuracy(
        m.alone["logits"], labels, 1)) for m in models.values())))
    first = next(iter(models.values())).answers["base-val"]["logits"]
    rows.append(("top-1 against the first",
                 *(percent(*episodes.difference(m.answers["base-val"]["logits"], first, labels))
                   for m in models.values())))
    table("Base classes, base/val (95 % intervals)", models, rows)


def calibration_table(models, labels, seed):
    """Measured on the half by which no temperature was fitted."""
    _, half = features.halves(labels)
    rows = []
    for name, m in models.items():
        logits, divisor = m.answers["base-val"]["logits"][half], m.config["temperature"]
        shown = episodes.softmax(logits / divisor)
        cells = [f"{percent(episodes.calibration_error(p, labels[half]))} / "
                 f"{episodes.cross_entropy(p, labels[half]):.3f}"
                 for p in (episodes.softmax(logits), shown)]
        rows.append((name, f"{divisor}", *cells, percent(episodes.chance_error(shown, seed))))
    table("Probabilities, the other half of base/val: expected calibration error in % (15 bins) / "
          "cross-entropy", ("temperature", "as trained", "as shown", "error by chance alone"), rows)


def few_shot_table(title, kinds, names, pictures, args):
    """`names`: of the sets of supports and of queries."""
    labels = [pictures.labels[name] for name in names]
    rows = []
    for name, (support, query) in kinds.items():
        rows.append((name, *(percent(*episodes.few_shot(
            (support, labels[0]), (query, labels[1]), 5, shots, args.episodes, args.seed))
            for shots in (1, 5))))
    table(f"{title}, 5-way, {args.episodes} episodes", ("1-shot", "5-shot"), rows)


def joint_table(models, pictures, args):
    rows = []
    for name, m in models.items():
        sets = [(m.answers[s]["embedding"], pictures.labels[s])
                for s in ("novel-support", "base-val", "novel-query")]
        cells = []
        for shots in (5, 40):
            base, novel = episodes.joint(m.directions(), *sets, shots, args.seed)
            total = (base * len(sets[1][1]) + novel * len(sets[2][1])) \
                / (len(sets[1][1]) + len(sets[2][1]))
            cells.append(f"{percent(base)} / {percent(novel)} / {percent(total)}")
        rows.append((name, *cells))
    table("Trained and enrolled classes ranked together: base / novel / all pictures",
          ("5 pictures a class", "40 pictures a class"), rows)


def unknown_table(name, m, pictures):
    _, half = features.halves(pictures.labels["base-val"])
    known = {k: v[half] for k, v in m.scores("base-val").items()}
    rows = []
    for kind in filter(m.answers.get, ("novel-query", "larger", "photographs")):
        unknown = m.scores(kind)
        cells = [f"{reject.auroc(known[k], unknown[k]):.3f} / "
                 f"{percent(reject.tnr_at(known[k], unknown[k]))} / "
                 f"{percent(reject.detection_accuracy(known[k], unknown[k]))}"
                 for k in SCORES if k in known]
        rows.append((f"{kind} ({len(next(iter(unknown.values())))})", *cells))
    used = "fused" if m.reject["score"] == "mahalanobis" else m.reject["score"]
    table(f"Unknown, {name} (the program uses: {used}): AUROC / TNR at 95 % TPR / "
          "detection accuracy", [k for k in SCORES if k in known], rows)


def gallery_scores(m, support, labels, query):
    """{kind: confidence [n]} when only the classes of `support` (answers) are known."""
    enrolled = episodes.prototypes(support["embedding"], labels)
    found = {"cosine": (episodes.unit(query["embedding"]) @ enrolled.T).max(1)}
    layers = np.stack([reject.confidence(
        query[layer], np.stack([support[layer][labels == c].mean(0) for c in np.unique(labels)]),
        m.tensors[f"reject.{layer}.covariance"], g)
        for layer, g in zip(m.reject["layers"], m.reject["shrinkage"])], 1)
    found["fused"] = reject.fused(layers, m.reject["bias"], m.reject["weights"])
    return found


def gallery_unknown(m, pictures, ways, shots, args, draws=100):
    """{kind: mean AUROC} of pictures of enrolled novel classes against those of the others."""
    rng = np.random.default_rng([args.seed, ways, shots])
    labels, asked = (pictures.labels[n] for n in ("novel-support", "novel-query"))
    support, query = (m.answers[n] for n in ("novel-support", "novel-query"))
    areas = []
    for _ in range(draws):
        classes = rng.choice(np.unique(labels), ways, replace=False)
        chosen = np.concatenate([rng.choice(np.flatnonzero(labels == c), shots, replace=False)
                                 for c in classes])
        known = np.isin(asked, classes)
        scores = gallery_scores(m, {k: v[chosen] for k, v in support.items()}, labels[chosen],
                                query)
        areas.append({k: reject.auroc(v[known], v[~known]) for k, v in scores.items()})
    return {k: float(np.mean([a[k] for a in areas])) for k in areas[0]}


def gallery_table(models, pictures, args):
    rows = []
    for name, m in models.items():
        for shots in (5, 40):
            cells = [gallery_unknown(m, pictures, ways, shots, args) for ways in (5, 10)]
            rows.append((f"{name}, {shots} pictures a class",
                         *(f"{c['cosine']:.3f} / {c['fused']:.3f}" for c in cells)))
    table("Unknown to a gallery of novel classes alone: the other novel classes' query pictures, "
          "AUROC of cosine / fused Mahalanobis, mean of 100 draws",
          ("5 classes enrolled", "10 classes enrolled"), rows)


def features_of(models, names, pictures, args):
    """{kind of feature: (support, query)} of the sets `names`"""
    kinds = {"pixels": tuple(np.stack([features.prepared(p, {"image": 64, "resize": 64})
                                       for p in pictures.sets[n]]).reshape(
                                           len(pictures.sets[n]), -1) / 255.0 - 0.5
                             for n in names)}
    if args.untrained:
        engine = untrained(pictures.sets["base-val"])
        kinds["untrained backbone"] = tuple(
            features.of(engine, pictures.sets[n])["embedding"] for n in names)
    for name, m in models.items():
        kinds[f"{name}, embedding"] = tuple(m.answers[n]["embedding"] for n in names)
        kinds[f"{name}, pool4"] = tuple(m.answers[n]["pool4"] for n in names)
    return kinds


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FILE",
                        help="several; the first is what the others are compared with")
    parser.add_argument("--engine", choices=["pytorch", "softlens"], default="pytorch")
    parser.add_argument("--binary", default="build/softlens")
    parser.add_argument("--photographs", nargs="*", default=[], help="folders of other pictures")
    parser.add_argument("--photograph-limit", type=int, default=200, help="of each folder")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--untrained", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    args = arguments()
    pictures = Pictures(args)
    models = {}
    for item in args.model:
        name, path = item.split("=", 1)
        models[name] = Measured(path, args, pictures)
    base_table(models, pictures.labels["base-val"])
    calibration_table(models, pictures.labels["base-val"], args.seed)
    for title, names in (("Novel classes", SETS[1:]), ("Larger pictures", LARGER)):
        few_shot_table(title, features_of(models, names, pictures, args), names, pictures, args)
    joint_table(models, pictures, args)
    for name, m in models.items():
        unknown_table(name, m, pictures)
    gallery_table(models, pictures, args)


if __name__ == "__main__":
    main()
