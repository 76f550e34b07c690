// SPDX-License-Identifier: MIT
// tests/fuzz/exif.c: any bytes as an EXIF block; a reset must hold, and touch only what it must.
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    unsigned before = sl_exif_orientation(copy, size);
    if (before < 1 || before > 8)
        abort();
    sl_exif_reset_orientation(copy, size);
    if (sl_exif_orientation(copy, size) != 1)
        abort();
    free(copy);
    return 0;
}
