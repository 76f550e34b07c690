# SPDX-License-Identifier: MIT
"""Mahalanobis confidence: class means, one tied covariance, shrinkage, and the layers' fusion."""

import numpy as np

LAYERS = ("pool3", "pool4", "embedding")


def statistics(features, labels, classes):
    """(means [classes, D], covariance [D, D], its Ledoit-Wolf shrinkage) of features [n, D]."""
    x = features.astype(np.float64)
    means = np.stack([x[labels == c].mean(0) for c in range(classes)])
    x = x - means[labels]
    n, d = x.shape
    s = x.T @ x / n
    spread = ((s - np.trace(s) / d * np.eye(d)) ** 2).sum()
    error = (np.square((x ** 2).sum(1)).sum() / n - (s ** 2).sum()) / n
    return means, s, float(min(max(error / spread, 0), 1))


def shrunk(covariance, shrinkage):
    d = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)


def confidence(features, means, covariance, shrinkage):
    """M [n] = max over classes of -(v - m)^T S'^-1 (v - m)."""
    factor = np.linalg.cholesky(shrunk(np.asarray(covariance, np.float64), shrinkage))
    v = np.linalg.solve(factor, features.T.astype(np.float64)).T
    m = np.linalg.solve(factor, np.asarray(means, np.float64).T).T
    squares = (v ** 2).sum(1)[:, None] + (m ** 2).sum(1)[None] - 2 * v @ m.T
    return -squares.min(1)


def fit_fusion(known, unknown, ridge=1e-3, steps=50):
    """(bias, weights): logistic regression of known against unknown scores [n, layers], Newton.

    Both sides count the same in total; columns are standardised inside.
    """
    x = np.concatenate([known, unknown]).astype(np.float64)
    y = np.concatenate([np.ones(len(known)), np.zeros(len(unknown))])
    each = np.where(y > 0, 0.5 / len(known), 0.5 / len(unknown))
    mean, scale = x.mean(0), x.std(0)
    z = np.column_stack([np.ones(len(x)), (x - mean) / scale])
    penalty = ridge * np.diag([0.0] + [1.0] * x.shape[1])
    w = np.zeros(z.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-z @ w))
        gradient = z.T @ (each * (p - y)) + penalty @ w
        hessian = (z * (each * p * (1 - p))[:, None]).T @ z + penalty
        w -= np.linalg.solve(hessian, gradient)
    weights = w[1:] / scale
    return float(w[0] - weights @ mean), weights


def fused(scores, bias, weights):
    """scores [n, layers] -> [n]"""
    return bias + scores @ np.asarray(weights)


def layer_scores(features, model):
    """[n, layers] of features {layer: [n, D]} by the statistics of a loaded model file."""
    tensors, reject = model
    columns = [confidence(features[layer], tensors[f"reject.{layer}.means"],
                          tensors[f"reject.{layer}.covariance"], g)
               for layer, g in zip(reject["layers"], reject["shrinkage"])]
    return np.stack(columns, 1)


def auroc(known, unknown):
    """The chance that a known picture is surer than an unknown one; a tie counts half."""
    order = np.sort(unknown)
    below = np.searchsorted(order, known, "left") + np.searchsorted(order, known, "right")
    return float(below.mean() / 2 / len(unknown))


def tnr_at(known, unknown, tpr=0.95):
    """The share of unknown below the threshold that lets `tpr` of the known pass."""
    return float((unknown < np.quantile(known, 1 - tpr)).mean())


def detection_accuracy(known, unknown):
    """The best mean of both rates over all thresholds."""
    cuts = np.concatenate([known, unknown])
    passed = 1 - np.searchsorted(np.sort(known), cuts, "left") / len(known)
    stopped = np.searchsorted(np.sort(unknown), cuts, "left") / len(unknown)
    return float((passed + stopped).max() / 2)
