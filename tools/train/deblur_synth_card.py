# SPDX-License-Identifier: MIT
"""deblur_synth's blurred pictures made where the network is trained, many crops at once: pixels come
from a Store (deblur_store_card.py) on the device, draws from a Plan, and nothing goes back."""

import math

import numpy as np
import torch
from torch.nn import functional as F

import card
import deblur_store_card

POINTS = 1 << 25        # pixels moved at once, which bounds memory: 24 bytes each
SOFT_REACH = 2          # pixels, of what sharpening looks at
MOST_MARGIN = 64        # pixels around a crop from which things may move into it
LUMA = [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]]
CHROMA = [[17, 18, 24, 47, 99, 99, 99, 99], [18, 21, 26, 66, 99, 99, 99, 99],
          [24, 26, 56, 99, 99, 99, 99, 99], [47, 66, 99, 99, 99, 99, 99, 99]] + [[99] * 8] * 4
YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
RGB = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]


def quantisers():
    """[101, 2, 8, 8]: libjpeg's tables of luma and chroma at every quality."""
    base, tables = np.array([LUMA, CHROMA], np.float64), np.ones((101, 2, 8, 8))
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        tables[quality] = np.clip((base * scale + 50) // 100, 1, 255)
    return tables


def cosines():
    """The orthonormal 8 x 8 matrix of the discrete cosine transform."""
    k, i = np.mgrid[:8, :8]
    return np.cos((2 * i + 1) * k * np.pi / 16) * np.where(k == 0, math.sqrt(1 / 8), 0.5)


def blend(a, b, share):
    return a + (b - a) * share


def soft_kernel():
    """[5]: a Gaussian of sigma 0.7, as OpenCV cuts it."""
    k = np.exp(-np.square(np.arange(-SOFT_REACH, SOFT_REACH + 1)) / (2 * 0.7 ** 2))
    return k / k.sum()


class Synthesis:
    def __init__(self, store, device):
        self.store, self.device = store, torch.device(device)
        # a pixel is read as one number of 32 bits
        self.pixels = torch.from_numpy(store.pixels).view(torch.int32)[:, 0].to(self.device)
        self.tables, self.dct, self.ycc, self.rgb, self.soft = (
            self.constant(a) for a in (quantisers(), cosines(), YCC, RGB, soft_kernel()))

    def constant(self, values):
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    def send(self, values, dtype=np.float32):
        """A copy that the CPU does not wait for."""
        values = torch.from_numpy(np.ascontiguousarray(values, dtype))
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)

    def window(self, picture, corner, side):
        """[n, 4, side, side] in 0..255 out of pictures [n, 3] of (offset, h, w), the border's pixels
        repeated; and where it is inside of the picture, [n, side, side]."""
        offset, h, w = (picture[:, i, None, None] for i in range(3))
        line = torch.arange(side, device=self.device)
        y = corner[:, 0, None, None] + line[None, :, None]
        x = corner[:, 1, None, None] + line[None, None, :]
        inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
        y, x = torch.minimum(y.clamp(min=0), h - 1), torch.minimum(x.clamp(min=0), w - 1)
        rgba = self.pixels[offset + y * w + x]
        return torch.stack([(rgba >> s) & 255 for s in (0, 8, 16, 24)], 1).float(), inside

    def sharpened(self, x, amount):
        """deblur_synth.sharpened of [n, 3, h, w] by amounts [n, 1, 1, 1]; as large as it was."""
        n, c, h, w = x.shape
        soft = F.pad(x, (SOFT_REACH,) * 4, mode="replicate").flatten(0, 1).unsqueeze(1)
        soft = F.conv2d(F.conv2d(soft, self.soft.view(1, 1, -1, 1)), self.soft.view(1, 1, 1, -1))
        return (x + amount * (x - soft.view(n, c, h, w))).round().clamp(0, 255)

    def photo(self, picture, corner, side, amount):
        """[n, 3, side, side]: a window of photographs, sharpened."""
        x, _ = self.window(picture, corner - SOFT_REACH, side + 2 * SOFT_REACH)
        inner = slice(SOFT_REACH, SOFT_REACH + side)
        return self.sharpened(x[:, :3], amount)[..., inner, inner]

    def moved(self, layer, plan, some, margin):
        """(mean, union) over its motion of layers [n, 4, H, H] whose middle is the crop."""
        side, size = plan.side, layer.shape[-1]
        path, angle = plan.positions(some)
        n, frames = angle.shape
        path, angle = self.send(path), self.send(angle)[..., None]
        centre = self.send(plan.centre[some] - plan.corner[some])[:, None, None]
        line = torch.arange(side, dtype=torch.float32, device=self.device)
        # where a pixel comes from: turned back about the centre; in units of the layer's halves
        y = line - centre[..., 0] - path[..., 1:]
        x = line - centre[..., 1] - path[..., :1]
        cos, sin = torch.cos(angle) * 2 / size, torch.sin(angle) * 2 / size
        left, top = ((centre[..., i] + margin + 0.5) * 2 / size - 1 for i in (1, 0))
        grid = torch.empty(n, frames, side, side, 2, device=self.device)
        torch.sub((cos * x + left)[:, :, None, :], (sin * y)[..., None], out=grid[..., 0])
        torch.add((sin * x + top)[:, :, None, :], (cos * y)[..., None], out=grid[..., 1])
        out = F.grid_sample(layer, grid.view(n, frames * side, side, 2), "bilinear", "border",
                            align_corners=False)
        out = out.view(n, 4, frames, side, side)
        return out.mean(2), out[:, 3:].amax(2)

    def exposed(self, plan, some):
        """deblur_synth.expose for a chunk: (blurred, sharp, mask), in 0..255 but for the mask."""
        side = plan.side
        margin = min(int(plan.margin[some].max()) + 2, MOST_MARGIN)
        photo, back, layer, at, corner = (self.send(v[some], np.int64) for v in (
            plan.photo, plan.back, plan.layer, plan.at, plan.corner))
        placed, camera, active, gamma, clipped, amount = (
            self.send(v[some])[:, None, None, None] for v in (
                plan.placed, plan.kind == deblur_store_card.CAMERA, plan.active, plan.gamma,
                plan.clipped, plan.sharpening))
        front, inside = self.window(layer, corner - margin - at, side + 2 * margin)
        alpha = torch.maximum(front[:, 3:] / 255, camera)
        # colours of cut-outs are weighted by their alpha, and not sharpened
        front = blend(self.sharpened(front[:, :3], amount),
                      (front[:, :3] / alpha.clamp(min=1 / 255)).clamp(max=255), placed)
        alpha = alpha * torch.maximum(inside[:, None].float(), 1 - placed)
        sharp = self.photo(photo, corner, side, amount)
        middle = slice(margin, margin + side)
        share = placed * alpha[..., middle, middle]
        sharp = blend(sharp, front[..., middle, middle], share).round()
        behind = self.photo(back, corner, side, amount)

        def light(v):
            v = v / 255
            return v ** gamma * (1 + clipped * v ** 12)

        mean, union = self.moved(torch.cat([light(front) * alpha, alpha], 1), plan, some, margin)
        smeared = mean[:, :3] + (1 - mean[:, 3:]) * light(behind)
        smeared = smeared.clamp(0, 1) ** (1 / gamma) * 255
        union = union * active
        return blend(sharp, smeared, (union * 8).clamp(0, 1)), sharp, union > 0.02

    def blocks(self, x, table):
        """Coefficients of [n, h, w] rounded to multiples of the tables [n, 8, 8], and back."""
        n, h, w = x.shape
        x = x.view(n, h // 8, 8, w // 8, 8).transpose(2, 3)
        table = table[:, None, None]
        x = (self.dct @ x @ self.dct.T / table).round() * table
        return (self.dct.T @ x @ self.dct).transpose(2, 3).reshape(n, h, w)

    def jpeg(self, x, quality, phase):
        """[n, 3, h, w] in 0..255 as after JPEG with chroma halved; its blocks begin at `phase`."""
        (top, left), (h, w) = phase, x.shape[-2:]
        x = F.pad(x, (left, -(w + left) % 16, top, -(h + top) % 16), mode="replicate")
        x = torch.einsum("ij,njhw->nihw", self.ycc, x)
        table = self.tables[quality]
        luma = self.blocks((x[:, 0] - 128).round(), table[:, 0])
        chroma = F.avg_pool2d(x[:, 1:], 2).round()
        half = chroma.shape[-2:]
        chroma = self.blocks(chroma.reshape(-1, *half), table[:, 1].repeat_interleave(2, 0))
        chroma = F.interpolate(chroma.view(-1, 2, *half).round(), scale_factor=2, mode="bilinear",
                               align_corners=False)
        x = torch.cat([(luma + 128).round().unsqueeze(1), chroma], 1)
        x = torch.einsum("ij,njhw->nihw", self.rgb, x)
        return x[..., top:top + h, left:left + w].round().clamp(0, 255)

    @torch.no_grad()
    def crops(self, plan, points=POINTS):
        """[count, 7, side, side] uint8: input, target, mask; in the order of the plan's frames."""
        side = plan.side
        pool = torch.empty(plan.count, 7, side, side, dtype=torch.uint8, device=self.device)
        for some in plan.chunks(points):
            blurred, sharp, mask = self.exposed(plan, some)
            noise = self.send(plan.sigma[some])[:, None, None, None] * torch.randn_like(blurred)
            pool[some, :3] = (blurred + noise).round().clamp(0, 255).to(torch.uint8)
            pool[some, 3:6] = sharp.clamp(0, 255).to(torch.uint8)
            pool[some, 6:] = mask.to(torch.uint8) * 255
        packed = plan.rng.permutation(np.nonzero(plan.quality)[0])
        for group in np.array_split(packed, 4):     # the blocks lie differently in each
            if not len(group):
                continue
            which = self.send(group, np.int64)
            quality = self.send(plan.quality[group], np.int64)
            phase = [int(v) for v in plan.rng.integers(16, size=2)]
            pool[which, :3] = self.jpeg(pool[which, :3].float(), quality, phase).to(torch.uint8)
        return pool


@torch.no_grad()
def augmented(crops):
    """Each crop turned or mirrored into one of eight positions, three in twenty recoloured."""
    n, device = len(crops), crops.device
    for turned in (lambda c: c.flip(-1), lambda c: c.flip(-2), lambda c: c.transpose(-1, -2)):
        crops = torch.where(card.chance(0.5, (n, 1, 1, 1), device), turned(crops), crops)
    order = torch.rand(n, 3, device=device).argsort(1)
    order = torch.where(card.chance(0.15, (n, 1), device), order, torch.arange(3, device=device))
    last = torch.full((n, 1), 6, device=device)
    channels = torch.cat([order, order + 3, last], 1)
    return crops[torch.arange(n, device=device)[:, None], channels]
