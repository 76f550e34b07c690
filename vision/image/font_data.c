// SPDX-License-Identifier: MIT
// image/font_data.c: the font that is part of the library. A file beside it could be missing, or
// another version; what is never drawn with is never read from the disk in either case.
#include "image/font.h"
#include "image/font_place.h" // from Meson: SL_FONT_FILE

__asm__(".section .rodata\n"
        ".balign 16\n"
        ".hidden sl_font_data\n"
        ".globl sl_font_data\n"
        "sl_font_data:\n"
        ".incbin \"" SL_FONT_FILE "\"\n"
        ".hidden sl_font_data_end\n"
        ".globl sl_font_data_end\n"
        "sl_font_data_end:\n"
        ".byte 0\n"
        ".text\n");
