// SPDX-License-Identifier: MIT
// pipeline/detect_path.c: where a picture lies, seen from the file that speaks of it.
#include "pipeline/detect_file.h"

#include <limits.h>

// The directory that a file of this path is in, absolute and without links; *name: the file in it.
static bool find_directory(const char *path, char out[PATH_MAX], const char **name)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    *name = path + length;
    if (length >= sizeof(dir))
        return false;
    memcpy(dir, length ? path : ".", length ? length : 1);
    dir[length ? length : 1] = '\0';
    if (!realpath(dir, out))
        return false;
    if (strcmp(out, "/") == 0)
        out[0] = '\0';
    return true;
}

// "../" for every directory of `from` that `to` is not in, then the rest of `to`. Both are
// absolute,
// "" is the root.
static sl_status put_way(sl_ctx *ctx, sl_page *page, const char *from, const char *to)
{
    size_t i = 0, parted = 0; // the first slash behind which they differ
    for (; from[i] && from[i] == to[i]; i++)
        parted = from[i] == '/' ? i : parted;
    if ((!from[i] || from[i] == '/') && (!to[i] || to[i] == '/'))
        parted = i;
    sl_status st = SL_OK;
    for (const char *at = from + parted; *at && st == SL_OK; at++)
        if (*at == '/')
            st = sl_page_put(ctx, page, "../");
    if (st == SL_OK && to[parted])
        st = sl_page_put(ctx, page, to + parted + 1);
    return st == SL_OK && to[parted] ? sl_page_put(ctx, page, "/") : st;
}

char *sl_seen_from(sl_ctx *ctx, const char *file, const char *picture)
{
    char from[PATH_MAX], to[PATH_MAX];
    const char *name = NULL, *own = NULL;
    sl_page page = { 0 };
    if (!find_directory(file, from, &own) || !find_directory(picture, to, &name))
        return sl_utf8_copy(ctx, picture);
    sl_status st = put_way(ctx, &page, from, to);
    if (st == SL_OK)
        st = sl_page_put(ctx, &page, name);
    if (st == SL_OK)
        st = sl_blob_append(ctx, &page.text, &page.room, "", 1); // the 0 at its end
    char *out = st == SL_OK ? sl_utf8_copy(ctx, (const char *)page.text.data) : NULL;
    sl_page_free(&page);
    return out;
}
