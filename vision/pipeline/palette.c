// SPDX-License-Identifier: MIT
// pipeline/palette.c: a colour for every class. M. Okabe and K. Ito's palette ("Color Universal
// Design", 2008) without its black: seven colours that people with any kind of colour vision tell
// apart. Classes 7 to 13 have them again, halfway lighter, 14 to 20 halfway darker; from the 21st
// class on colours repeat, and the text beside them has to tell.
#include "pipeline/detections.h"

static const sl_colour palette[] = {
    { 230, 159, 0 },   // orange
    { 86, 180, 233 },  // sky blue
    { 0, 158, 115 },   // bluish green
    { 240, 228, 66 },  // yellow
    { 0, 114, 178 },   // blue
    { 213, 94, 0 },    // vermilion
    { 204, 121, 167 }, // reddish purple
};

static uint8_t halfway(uint8_t from, uint8_t to)
{
    return (uint8_t)((from + to + 1) / 2);
}

sl_colour sl_palette_colour(size_t index)
{
    const size_t n = SL_ARRAY_LEN(palette), round = index / n % 3;
    sl_colour c = palette[index % n];
    if (round > 0) {
        const uint8_t to = round == 1 ? 255 : 0;
        c = (sl_colour) { halfway(c.r, to), halfway(c.g, to), halfway(c.b, to) };
    }
    return c;
}

// FNV-1a: a label has its colour in every picture and every gallery.
size_t sl_palette_index(const char *label)
{
    uint32_t hash = 2166136261u;
    for (; *label; label++)
        hash = (hash ^ (uint8_t)*label) * 16777619u;
    return hash % (3 * SL_ARRAY_LEN(palette));
}

static double linear(uint8_t v)
{
    const double c = v / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

// The one of black and white with the higher contrast, (L1 + 0.05) / (L2 + 0.05) as of WCAG 2.
sl_colour sl_palette_ink(sl_colour plate)
{
    const double light =
        0.2126 * linear(plate.r) + 0.7152 * linear(plate.g) + 0.0722 * linear(plate.b) + 0.05;
    return light * light > 1.05 * 0.05 ? (sl_colour) { 0, 0, 0 } : (sl_colour) { 255, 255, 255 };
}
