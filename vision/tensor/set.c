// SPDX-License-Identifier: MIT
// tensor/set.c: the tensors of one file, whichever format it has.
#include "tensor/set.h"

sl_status sl_tensor_set_new(sl_ctx *ctx, const char *path, sl_tensor_set **out)
{
    *out = NULL;
    sl_tensor_set *set = sl_alloc(ctx, 1, sizeof(*set));
    if (!set)
        return SL_ERR_NOMEM;
    set->path = sl_strdup(ctx, path);
    if (!set->path) {
        free(set);
        return SL_ERR_NOMEM;
    }
    *out = set;
    return SL_OK;
}

void sl_tensor_set_free(sl_tensor_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->blob_count; i++)
        sl_blob_free(&set->blobs[i]);
    free(set->blobs);
    free(set->tensors);
    free(set->meta);
    sl_arena_free(&set->arena);
    sl_file_unmap(&set->mapping);
    free(set->path);
    free(set);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const sl_tensor *)a)->name, ((const sl_tensor *)b)->name);
}

sl_status sl_tensor_set_sort(sl_ctx *ctx, sl_tensor_set *set)
{
    if (set->count == 0)
        return SL_OK;
    qsort(set->tensors, set->count, sizeof(*set->tensors), by_name);
    for (size_t i = 1; i < set->count; i++)
        if (strcmp(set->tensors[i - 1].name, set->tensors[i].name) == 0)
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: two tensors are named %s; save the file again with unique names",
                           set->path, set->tensors[i].name);
    return SL_OK;
}

// The length of the UTF-8 sequence that `lead` begins; 0: none.
static size_t sequence_length(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

bool sl_utf8_valid(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        const uint8_t *s = (const uint8_t *)text + i;
        size_t length = sequence_length(s[0]);
        if (length == 0 || length > size - i)
            return false;
        for (size_t k = 1; k < length; k++)
            if ((s[k] & 0xc0) != 0x80)
                return false;
        // Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second byte.
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
            (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
            return false;
        i += length;
    }
    return true;
}

bool sl_tensor_name_valid(const char *text, size_t size)
{
    if (size == 0 || size > SL_TENSOR_NAME_BYTES || !sl_utf8_valid(text, size))
        return false;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        // U+0080 to U+009F are control characters too; valid UTF-8 has a byte after 0xc2.
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (uint8_t)text[i + 1] < 0xa0))
            return false;
    }
    return true;
}

static bool is_legacy_torch(const uint8_t *data, size_t size)
{
    // A pickle of protocol 2 that holds the one integer 0x1950a86a20f9469cfc6c.
    static const uint8_t magic[] = { 0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                     0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19 };
    return size >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

static sl_status parse(sl_ctx *ctx, const uint8_t *data, size_t size, const char *path,
                       sl_tensor_set **out)
{
    // Asked first: a safetensors file may begin with any bytes, the length of its header.
    if (size > 8 && data[8] == '{')
        return sl_safetensors_parse(ctx, data, size, path, out);
    if (size >= 4 && memcmp(data, "PK\3\4", 4) == 0)
        return sl_pth_parse(ctx, data, size, path, out);
    if (is_legacy_torch(data, size))
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a PyTorch checkpoint in the old format without zip; load it in PyTorch "
                       "and re-save it with torch.save(..., _use_new_zipfile_serialization=True)",
                       path);
    if (size >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a bare pickle, not a checkpoint; save the state_dict with torch.save",
                       path);
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: neither safetensors nor a PyTorch checkpoint; name a .safetensors or .pth "
                   "file, and download it again if it should be one",
                   path);
}

sl_status sl_tensor_set_open(sl_ctx *ctx, const char *path, sl_tensor_set **out)
{
    sl_mapping mapping;
    *out = NULL;
    sl_status st = sl_file_map(ctx, path, &mapping);
    if (st != SL_OK)
        return st;
    st = parse(ctx, mapping.data, mapping.size, path, out);
    if (st != SL_OK || (*out)->is_pth) // storages of a checkpoint are copies
        sl_file_unmap(&mapping);
    else
        (*out)->mapping = mapping;
    return st;
}

const char *sl_tensor_set_path(const sl_tensor_set *set)
{
    return set->path;
}

bool sl_tensor_set_is_pth(const sl_tensor_set *set)
{
    return set->is_pth;
}

size_t sl_tensor_set_count(const sl_tensor_set *set)
{
    return set->count;
}

const sl_tensor *sl_tensor_set_at(const sl_tensor_set *set, size_t i)
{
    return i < set->count ? &set->tensors[i] : NULL;
}

const sl_tensor *sl_tensor_set_find(const sl_tensor_set *set, const char *name)
{
    sl_tensor key = { .name = name };
    if (set->count == 0)
        return NULL;
    return bsearch(&key, set->tensors, set->count, sizeof(key), by_name);
}

size_t sl_tensor_set_meta_count(const sl_tensor_set *set)
{
    return set->meta_count;
}

const char *sl_tensor_set_meta(const sl_tensor_set *set, const char *key)
{
    for (size_t i = 0; i < set->meta_count; i++)
        if (strcmp(set->meta[i].key, key) == 0)
            return set->meta[i].value;
    return NULL;
}

void sl_tensor_set_meta_at(const sl_tensor_set *set, size_t i, const char **key, const char **value)
{
    *key = i < set->meta_count ? set->meta[i].key : NULL;
    *value = i < set->meta_count ? set->meta[i].value : NULL;
}
