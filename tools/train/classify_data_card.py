# SPDX-License-Identifier: MIT
"""Augmented batches made where the pictures are: every step for all pictures of a batch at once,
nothing that the host has to wait for."""

import functools
import math

import torch
from torch.nn import functional as F

import classify_data
from card import chance, uniform

# RGB -> brightness and two colour differences (YIQ); a turn of the latter changes the hue alone
TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@functools.lru_cache(maxsize=None)
def constant(name, device):
    """A tensor that stays on the device: to bring it there in every step would mean to wait."""
    values = {"to": torch.tensor(TO_YIQ), "back": torch.linalg.inv(torch.tensor(TO_YIQ)),
              "mean": torch.tensor(classify_data.MEAN).view(1, 3, 1, 1),
              "std": torch.tensor(classify_data.STD).view(1, 3, 1, 1)}
    return values[name].to(device)


def matrices(rows):
    """Nested lists of [B] -> [B, rows, columns]."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def maps(count, quarters, args, device):
    """[B, 2, 3] from places of the new picture to places of the old: a part of it, now and then
    mirrored, slanted, and turned by `quarters` [B] of a full turn."""
    one, zero = torch.ones(count, device=device), torch.zeros(count, device=device)
    area = uniform(args.least_area, 1, count, device)
    aspect = torch.exp(uniform(math.log(3 / 4), math.log(4 / 3), count, device) / 2)
    wide = (area.sqrt() * aspect).clamp(max=1)
    high = (area.sqrt() / aspect).clamp(max=1)
    mirror = torch.where(chance(0.5, count, device), -one, one)
    slanted = chance(args.slant_share, count, device).float()
    angle = uniform(-args.slant, args.slant, count, device) * slanted
    shear = uniform(-args.slant, args.slant, count, device) * slanted * 0.5
    c, s = torch.cos(angle), torch.sin(angle)
    part = matrices([[wide * mirror, zero], [zero, high]])
    slant = matrices([[c, -s], [s, c]]) @ matrices([[one, shear], [zero, one]])
    turn = quarters * (math.pi / 2)
    c, s = torch.cos(turn).round(), torch.sin(turn).round()
    place = torch.stack([uniform(-1, 1, count, device) * (1 - wide),
                         uniform(-1, 1, count, device) * (1 - high)], -1)
    return torch.cat([part @ slant @ matrices([[c, -s], [s, c]]), place.unsqueeze(-1)], -1)


def colours(x, args):
    """Brightness, contrast, saturation and hue of x [B, 3, H, W] in 0..1; some without colour, some
    softer or sharper."""
    count, jitter, device = len(x), args.jitter, x.device
    one, zero = torch.ones(count, device=device), torch.zeros(count, device=device)
    strength = 1 + uniform(-jitter, jitter, count, device) * 1.5
    strength = strength * (~chance(args.grey, count, device)).float()
    hue = uniform(-args.hue, args.hue, count, device) * math.pi
    c, s = torch.cos(hue) * strength, torch.sin(hue) * strength
    turn = matrices([[one, zero, zero], [zero, c, -s], [zero, s, c]])
    mix = constant("back", device) @ turn @ constant("to", device)
    x = torch.bmm(mix, x.flatten(2)).view_as(x)
    shape = (count, 1, 1, 1)
    gain = 1 + uniform(-jitter, jitter, shape, device)
    offset = uniform(-jitter, jitter, shape, device) * 0.6
    mean = x.mean((1, 2, 3), keepdim=True)
    x = ((x - mean) * gain + mean + offset).clamp(0, 1)
    soft = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    sharp = torch.where(chance(args.focus_share, shape, device), uniform(0, 2, shape, device),
                        torch.ones(shape, device=device))
    return torch.lerp(soft, x, sharp).clamp(0, 1)


def normalised(x):
    """[B, 3, H, W] in 0..1 -> as the network wants it."""
    return (x - constant("mean", x.device)) / constant("std", x.device)


def augmented(pictures, quarters, side, args):
    """uint8 [B, 3, 64, 64] -> f32 [B, 3, side, side]; `quarters` of a turn for each, f32 [B]."""
    count = len(pictures)
    grid = F.affine_grid(maps(count, quarters, args, pictures.device), (count, 3, side, side),
                         align_corners=False)
    x = F.grid_sample(pictures.float() / 255, grid, mode="bicubic", padding_mode="reflection",
                      align_corners=False).clamp(0, 1)
    return normalised(colours(x, args))


def boxes(area, h, w):
    """bool [B, 1, h, w]: a box of about this share [B] of each picture's area, anywhere."""
    count, device = len(area), area.device
    aspect = torch.exp(uniform(-0.5, 0.5, count, device))
    inside = torch.ones(count, 1, 1, 1, dtype=torch.bool, device=device)
    for size, side, shape in ((h, area.sqrt() * aspect, (1, 1, h, 1)),
                              (w, area.sqrt() / aspect, (1, 1, 1, w))):
        place = (torch.arange(size, device=device) + 0.5).view(shape) / size
        centre = torch.rand(count, device=device).view(-1, 1, 1, 1)
        inside = inside & ((place - centre).abs() * 2 < side.view(-1, 1, 1, 1))
    return inside


def erased(x, share):
    """Random erasing (arXiv 1708.04896): a box of some pictures becomes noise."""
    count, device = len(x), x.device
    box = boxes(uniform(0.05, 0.3, count, device), *x.shape[2:])
    box = box & chance(share, count, device).view(-1, 1, 1, 1)
    return torch.where(box, torch.randn_like(x), x)


def mixed(x, cutmix, mixup):
    """Mixes some pictures with partners, each pair in its own way: CutMix (arXiv 1905.04899) or
    mixup (arXiv 1710.09412), at these shares. Returns (x, partners, own shares [B])."""
    count = len(x)
    partner = torch.randperm(count, device=x.device)
    way = torch.rand(count, device=x.device)
    other = x[partner]
    box = boxes(torch.rand(count, device=x.device), *x.shape[2:])
    box = box & (way < cutmix).view(-1, 1, 1, 1)
    own = 1 - box.float().mean((1, 2, 3))
    lam = torch.where((way >= cutmix) & (way < cutmix + mixup),
                      torch.rand(count, device=x.device), torch.ones_like(way))
    x = torch.where(box, other, torch.lerp(other, x, lam.view(-1, 1, 1, 1)))
    return x, partner, own * lam
