# SPDX-License-Identifier: MIT
"""Few-shot episodes, joint ranking and calibration on answers that were computed before."""

import numpy as np


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def prototypes(features, labels):
    """[classes, d]: the normalised mean of the unit features of each class."""
    u = unit(features)
    return unit(np.stack([u[labels == c].mean(0) for c in np.unique(labels)]))


def few_shot(support, query, ways, shots, episodes, seed, queries=15):
    """(mean accuracy, half of its 95 % interval) of nearest prototypes by cosine.

    `support` and `query` are (features, labels). The episodes depend on the seed alone, so every
    kind of feature sees the same ones.
    """
    rng = np.random.default_rng([seed, ways, shots])
    supports, wanted = unit(support[0]), unit(query[0])
    classes = np.unique(support[1])
    accuracy = []
    for _ in range(episodes):
        drawn = rng.choice(classes, ways, replace=False)
        taught, asked = [], []
        for c in drawn:
            taught.append(rng.choice(np.flatnonzero(support[1] == c), shots, replace=False))
            asked.append(rng.choice(np.flatnonzero(query[1] == c), queries, replace=False))
        known = unit(supports[np.array(taught)].mean(1))
        found = (wanted[np.concatenate(asked)] @ known.T).argmax(1)
        accuracy.append((found == np.repeat(np.arange(ways), queries)).mean())
    return float(np.mean(accuracy)), float(1.96 * np.std(accuracy, ddof=1) / np.sqrt(episodes))


def joint(directions, support, base, novel, shots, seed, draws=20):
    """(base, novel) accuracy when trained and enrolled classes are ranked together by cosine.

    `directions` [classes, d] of the trained classes; `support`, `base`, `novel` are (features,
    labels). Fewer shots than there are: the mean over `draws` draws.
    """
    rng = np.random.default_rng([seed, shots])
    most = np.bincount(support[1]).min()
    results = []
    for _ in range(1 if shots >= most else draws):
        chosen = np.concatenate([rng.choice(np.flatnonzero(support[1] == c), shots, replace=False)
                                 for c in np.unique(support[1])])
        enrolled = prototypes(support[0][chosen], support[1][chosen])
        everything = np.concatenate([unit(directions), enrolled])
        hits = [((unit(f) @ everything.T).argmax(1) == labels + offset).mean()
                for (f, labels), offset in ((base, 0), (novel, len(directions)))]
        results.append(hits)
    return tuple(float(v) for v in np.mean(results, 0))


def accuracy(logits, labels, top):
    """(share, half of its 95 % interval) of pictures whose label is among the `top` best."""
    best = np.argpartition(-logits, top - 1, axis=1)[:, :top]
    p = float((best == labels[:, None]).any(1).mean())
    return p, float(1.96 * np.sqrt(p * (1 - p) / len(labels)))


def difference(logits, others, labels):
    """(top-1 minus the others' top-1, half of its 95 % interval), picture by picture."""
    d = (logits.argmax(1) == labels).astype(float) - (others.argmax(1) == labels)
    return float(d.mean()), float(1.96 * d.std(ddof=1) / np.sqrt(len(d)))


def softmax(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def calibration_error(probabilities, labels, bins=15):
    """Expected calibration error (arXiv 1706.04599): the mean distance of the probability of the
    best answer from the share of right ones, in `bins` equal steps of that probability."""
    surest = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    step = np.minimum((surest * bins).astype(int), bins - 1)
    weights = np.bincount(step, minlength=bins) / len(labels)
    gaps = [abs(right[step == i].mean() - surest[step == i].mean()) if weights[i] else 0
            for i in range(bins)]
    return float(weights @ gaps)


def chance_error(probabilities, seed, draws=20):
    """The mean calibration error of as many pictures if the probabilities were right."""
    sums = probabilities.astype(np.float64).cumsum(1)
    rng = np.random.default_rng(seed)
    return float(np.mean([calibration_error(
        probabilities, (sums < rng.random((len(sums), 1)) * sums[:, -1:]).sum(1))
        for _ in range(draws)]))


def cross_entropy(probabilities, labels):
    """In nats; the mean over pictures."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())
