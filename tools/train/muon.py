# SPDX-License-Identifier: MIT
"""Muon: momentum whose matrices are orthogonalised before the step, AdamW for everything else."""

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)   # Jordan et al.: fast, singular values end in 0.7..1.2


def orthogonalised(g, steps=5, dtype=torch.bfloat16):
    """The orthogonal factor of a stack of matrices [n, rows, columns], approximately; in `dtype`."""
    a, b, c = NEWTON_SCHULZ
    turned = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if turned else g
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)).to(dtype)
    for _ in range(steps):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * s @ s) @ x
    return (x.transpose(1, 2) if turned else x).float()


class Muon:
    """A step has the RMS of a typical AdamW step (0.2), so both halves share a learning rate.

    Every worker orthogonalises its share of the matrices; `gather` adds up the workers' updates.
    """

    def __init__(self, params, momentum=0.95, weight_decay=0.01, share=(0, 1), gather=None,
                 dtype=torch.bfloat16):
        self.groups = {}        # equal shapes go through the iteration as one stack
        for p in params:
            self.groups.setdefault((p.shape[0], p.numel() // p.shape[0]), []).append(p)
        self.device = params[0].device if params else None
        self.momentum, self.weight_decay = momentum, weight_decay
        self.share, self.gather, self.dtype = share, gather, dtype
        self.state = {k: torch.zeros(len(g), *k, device=g[0].device)
                      for k, g in self.groups.items()}
        self.total = sum(s.numel() for s in self.state.values())

    @torch.no_grad()
    def step(self, lr):
        rank, workers = self.share
        flat, start, turn = torch.zeros(self.total, device=self.device), 0, rank
        updates = []
        for key, group in self.groups.items():
            grad = torch.stack([p.grad.reshape(key) for p in group])
            mean = self.state[key].mul_(self.momentum).add_(grad, alpha=1 - self.momentum)
            update = flat[start:start + grad.numel()].view_as(grad)
            start, turn = start + grad.numel(), turn + 1
            mine = slice(turn % workers, None, workers)
            if len(grad[mine]):
                step = torch.lerp(grad[mine], mean[mine], self.momentum)
                update[mine] = orthogonalised(step, dtype=self.dtype)
            updates.append(update)
        if workers > 1:
            self.gather(flat)
        for (key, group), update in zip(self.groups.items(), updates):
            update *= 0.2 * max(key) ** 0.5
            torch._foreach_mul_(group, 1 - lr * self.weight_decay)      # few launches on a card
            torch._foreach_add_(group, [u.view_as(p) for p, u in zip(group, update.unbind())],
                                alpha=-lr)

    def state_dict(self):
        return {str(k): v for k, v in self.state.items()}

    def load_state_dict(self, state):
        self.state = {k: state[str(k)] for k in self.state}


def is_hidden_matrix(name, p):
    """Whether Muon takes a parameter: weights between hidden features, no first or last layer."""
    if p.ndim < 2 or name.startswith(("input_proj", "output_proj")):
        return False
    other = ("modulator", "relative_position", "dwconv", "out_conv", "deconv")
    return not any(word in name for word in other)
