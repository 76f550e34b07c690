# SPDX-License-Identifier: MIT
"""Draws seconds against tokens, both logarithmic, as SVG. Python's standard library only."""

import math

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 78
NAMES = {"softmax": "softmax attention", "ratio": "landmarks by ratio (published)",
         "fixed": "49 landmarks at any size"}
COLOURS = {"softmax": "#b3402e", "ratio": "#3265a8", "fixed": "#2c7a4b"}


class Axes:
    def __init__(self, curves):
        points = [p for curve in curves.values() for p in curve]
        self.low_x = math.log10(min(self.tokens(p[0]) for p in points)) - 0.06
        self.high_x = math.log10(max(self.tokens(p[0]) for p in points)) + 0.06
        self.low_y = math.floor(math.log10(min(p[1] for p in points)))
        self.high_y = math.ceil(math.log10(max(p[1] for p in points)))

    @staticmethod
    def tokens(side):
        """Of stage 1."""
        return (side / 4) ** 2

    def x(self, side):
        share = (math.log10(self.tokens(side)) - self.low_x) / (self.high_x - self.low_x)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, seconds):
        share = (math.log10(seconds) - self.low_y) / (self.high_y - self.low_y)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def line(x0, y0, x1, y1, colour, more=""):
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}"{more}/>'


def grid(axes, sides):
    parts = []
    for power in range(axes.low_y, axes.high_y + 1):
        y = axes.y(10.0 ** power)
        parts += [line(LEFT, y, WIDTH - RIGHT, y, "#ddd"),
                  text(LEFT - 8, y + 4, f"{10.0 ** power:g} s", "end")]
    for side in sides:
        x = axes.x(side)
        parts += [line(x, TOP, x, HEIGHT - BOTTOM, "#ddd"),
                  text(x, HEIGHT - BOTTOM + 18, str(side))]
    return parts


def slope(curve):
    """Of the last doubling or so, in powers of the number of tokens."""
    (side, seconds), (last, most) = curve[len(curve) // 2 - (len(curve) > 2)], curve[-1]
    if side == last:
        return ""
    return f", grows as n^{math.log(most / seconds) / (2 * math.log(last / side)):.2f}"


def draw_curve(axes, name, curve, place):
    colour = COLOURS[name]
    points = " ".join(f"{axes.x(s):.1f},{axes.y(t):.1f}" for s, t in curve)
    parts = [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>']
    parts += [f'<circle cx="{axes.x(s):.1f}" cy="{axes.y(t):.1f}" r="3.5" fill="{colour}"/>'
              for s, t in curve]
    y = TOP + 20 + 20 * place
    parts += [line(LEFT + 14, y - 4, LEFT + 40, y - 4, colour, ' stroke-width="2.5"'),
              text(LEFT + 48, y, NAMES[name] + slope(curve), "start")]
    return parts


def write(path, data):
    """data: {"machine", "limit": seconds, "curves": {name: [[side, seconds]...]}}"""
    curves = data["curves"]
    axes = Axes(curves)
    sides = [side for side, _ in max(curves.values(), key=len)]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 26, "SOFT-Norm-Tiny: one picture, by its side in pixels", "start",
                  ' font-size="16"')]
    parts += grid(axes, sides)
    for place, name in enumerate(NAMES):
        if curves[name]:
            parts += draw_curve(axes, name, curves[name], place)
    parts += [text(LEFT, HEIGHT - 38, f'{data["machine"]}. A curve ends where its next point would '
                   f'take more than {data["limit"]:g} s.', "start"),
              text(LEFT, HEIGHT - 18, "Softmax: the same network with the attention of stages 1 to 3 "
                   "exchanged, timed apart. n: tokens.", "start"), "</svg>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")
