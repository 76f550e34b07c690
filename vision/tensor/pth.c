// SPDX-License-Identifier: MIT
// tensor/pth.c: PyTorch checkpoints: a zip archive with a pickle that refers to raw storages.
#include "tensor/json.h"
#include "tensor/pth.h"

#define MAX_ROOT_BYTES 1024

bool sl_pth_member(const sl_pth *pth, const char *rest, size_t *i)
{
    char name[MAX_ROOT_BYTES + 64];
    int length = snprintf(name, sizeof(name), "%.*s/%s", pth->root_length, pth->root, rest);
    return length > 0 && (size_t)length < sizeof(name) && sl_zip_find(pth->zip, name, i);
}

// The archive holds one folder, whatever its name, with data.pkl in it.
static sl_status find_root(sl_pth *pth, size_t *data)
{
    size_t i;
    for (i = 0; i < sl_zip_count(pth->zip); i++) {
        const char *name = sl_zip_name(pth->zip, i), *slash = strchr(name, '/');
        if (!slash || strcmp(slash, "/data.pkl") != 0)
            continue;
        if (pth->root)
            return sl_fail(pth->ctx, SL_ERR_FORMAT,
                           "%s: more than one data.pkl in the archive; save it again", pth->path);
        if (slash - name > MAX_ROOT_BYTES)
            return sl_fail(pth->ctx, SL_ERR_LIMIT,
                           "%s: a folder name of more than %d bytes in the archive; save it again",
                           pth->path, MAX_ROOT_BYTES);
        pth->root = name;
        pth->root_length = (int)(slash - name);
        *data = i;
    }
    if (!pth->root)
        return sl_fail(pth->ctx, SL_ERR_FORMAT,
                       "%s: a zip archive without data.pkl, so no PyTorch checkpoint; name a .pth "
                       "file made by torch.save",
                       pth->path);
    if (sl_pth_member(pth, "constants.pkl", &i))
        return sl_fail(pth->ctx, SL_ERR_UNSUPPORTED,
                       "%s: a TorchScript program; save its state_dict with torch.save instead",
                       pth->path);
    return SL_OK;
}

static sl_status check_byte_order(sl_pth *pth)
{
    size_t i;
    sl_blob order = { NULL, 0 };
    if (!sl_pth_member(pth, "byteorder", &i)) // older than 2.1
        return SL_OK;
    sl_status st = SL_OK;
    if (sl_zip_size(pth->zip, i) == strlen("little"))
        st = sl_zip_read(pth->ctx, pth->zip, i, &order);
    if (st == SL_OK && (order.size == 0 || memcmp(order.data, "little", order.size) != 0))
        st = sl_fail(pth->ctx, SL_ERR_UNSUPPORTED,
                     "%s: not in little-endian byte order; save it on such a machine", pth->path);
    sl_blob_free(&order);
    return st;
}

static bool has_tensors(const sl_pickle *dict)
{
    const sl_pickle *parts;
    for (size_t i = 0; sl_pickle_is_dict(dict) && i < dict->count; i += 2)
        if (sl_pth_classify(dict->items[i + 1], &parts) != SL_PTH_OTHER)
            return true;
    return false;
}

// Names what is there instead of tensors.
static sl_status no_tensors(sl_pth *pth, const sl_pickle *top)
{
    char keys[400] = "";
    size_t used = 0, listed = 0;
    for (size_t i = 0; sl_pickle_is_dict(top) && i < top->count && listed < 8; i += 2) {
        const sl_pickle *key = top->items[i];
        if (key->kind != SL_PICKLE_TEXT || key->text.size > 40 ||
            !sl_tensor_name_valid(key->text.data, key->text.size))
            continue;
        used += (size_t)snprintf(keys + used, sizeof(keys) - used, "%s\"%.*s\"",
                                 listed++ ? ", " : "", (int)key->text.size, key->text.data);
    }
    return sl_fail(pth->ctx, SL_ERR_FORMAT,
                   "%s: no tensors under \"state_dict_ema\", \"state_dict\", \"model\" or at the "
                   "top, only %s; save model.state_dict() with torch.save",
                   pth->path,
                   listed                   ? keys
                   : sl_pickle_is_dict(top) ? "unnamed things"
                                            : "something that is no dict");
}

static sl_status choose_dict(sl_pth *pth, const sl_pickle *top, const sl_pickle **out)
{
    static const char *const keys[] = { "state_dict_ema", "state_dict", "model" };
    for (size_t i = 0; i < SL_ARRAY_LEN(keys); i++) {
        *out = sl_pickle_get(top, keys[i]);
        if (*out && has_tensors(*out))
            return SL_OK;
    }
    *out = top;
    return has_tensors(top) ? SL_OK : no_tensors(pth, top);
}

#define COUNTER "n_averaged" // beside the model in a torch.optim.swa_utils.AveragedModel

// Whether all tensors have it; there is one at least.
static bool has_prefix(const sl_pickle *dict, const char *prefix)
{
    const sl_pickle *parts;
    bool found = false;
    for (size_t i = 0; i < dict->count; i += 2) {
        const sl_pickle *key = dict->items[i];
        if (sl_pickle_is_text(key, COUNTER) ||
            sl_pth_classify(dict->items[i + 1], &parts) == SL_PTH_OTHER)
            continue;
        if (key->kind != SL_PICKLE_TEXT || key->text.size <= strlen(prefix) ||
            memcmp(key->text.data, prefix, strlen(prefix)) != 0)
            return false;
        found = true;
    }
    return found;
}

// Bytes of what a wrapper put before every name: DataParallel and AveragedModel, or torch.compile.
static size_t prefix_bytes(const sl_pickle *dict)
{
    static const char *const prefixes[] = { "module.", "_orig_mod." };
    for (size_t i = 0; i < SL_ARRAY_LEN(prefixes); i++)
        if (has_prefix(dict, prefixes[i]))
            return strlen(prefixes[i]);
    return 0;
}

static sl_status read_entry(sl_pth *pth, const sl_pickle *key, const sl_pickle *value, size_t skip)
{
    const sl_pickle *parts = NULL;
    sl_tensor_set *set = pth->set;
    sl_pth_kind kind = sl_pth_classify(value, &parts);
    bool named = key->kind == SL_PICKLE_TEXT && key->text.size >= skip &&
                 sl_tensor_name_valid(key->text.data + skip, key->text.size - skip);
    if (kind == SL_PTH_OTHER) {
        sl_log(pth->ctx, SL_LOG_DEBUG, "%s: stepping over %.*s, which is no tensor", pth->path,
               named ? (int)key->text.size : 7, named ? key->text.data : "a value");
        return SL_OK;
    }
    if (!named)
        return sl_fail(pth->ctx, SL_ERR_FORMAT,
                       "%s: the name of tensor number %zu is no text of 1 to %d bytes without "
                       "control characters; rename it",
                       pth->path, set->count + 1, SL_TENSOR_NAME_BYTES);
    sl_tensor *tensor = &set->tensors[set->count];
    char *name = sl_arena_alloc(pth->ctx, &set->arena, key->text.size - skip + 1, 1);
    if (!name)
        return SL_ERR_NOMEM;
    memcpy(name, key->text.data + skip, key->text.size - skip);
    tensor->name = name;
    if (kind == SL_PTH_FOREIGN_TENSOR)
        return sl_fail(pth->ctx, SL_ERR_UNSUPPORTED,
                       "%s: tensor %s is of a kind that is not read (quantized, sparse or of a "
                       "class of its own); save it as a plain tensor",
                       pth->path, name);
    set->count++;
    return sl_pth_read_tensor(pth, parts, tensor);
}

static sl_status read_tensors(sl_pth *pth, const sl_pickle *dict)
{
    sl_tensor_set *set = pth->set;
    size_t members = sl_zip_count(pth->zip), skip = prefix_bytes(dict);
    set->blobs = sl_alloc(pth->ctx, members, sizeof(*set->blobs));
    pth->is_loaded = sl_alloc(pth->ctx, members, sizeof(*pth->is_loaded));
    set->tensors = sl_alloc(pth->ctx, dict->count / 2, sizeof(*set->tensors));
    if (!set->blobs || !pth->is_loaded || !set->tensors)
        return SL_ERR_NOMEM;
    set->blob_count = members;
    for (size_t i = 0; i < dict->count; i += 2) {
        if (skip && sl_pickle_is_text(dict->items[i], COUNTER)) // no part of the model
            continue;
        sl_status st = read_entry(pth, dict->items[i], dict->items[i + 1], skip);
        if (st != SL_OK)
            return st;
    }
    return sl_tensor_set_sort(pth->ctx, set);
}

// ---- the names of a detector's classes, as mmdetection keeps them: meta, CLASSES

enum { MOST_NAMES = 65536 }; // a text can stand in a pickle many times and take its bytes once

static const sl_pickle *find_names(const sl_pickle *top)
{
    const sl_pickle *meta = sl_pickle_get(top, "meta");
    const sl_pickle *names = meta ? sl_pickle_get(meta, "CLASSES") : NULL;
    if (!names || (names->kind != SL_PICKLE_TUPLE && names->kind != SL_PICKLE_LIST))
        return NULL;
    if (names->count > MOST_NAMES)
        return NULL;
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i]->kind != SL_PICKLE_TEXT ||
            !sl_tensor_name_valid(names->items[i]->text.data, names->items[i]->text.size))
            return NULL;
    return names;
}

static sl_status write_labels(sl_pth *pth, const sl_pickle *names, sl_blob *text)
{
    json_t *labels = json_array();
    size_t room = 0;
    bool complete = labels != NULL;
    for (size_t i = 0; i < names->count && complete; i++) {
        sl_pickle_text name = names->items[i]->text;
        complete = json_array_append_new(labels, json_stringn(name.data, name.size)) == 0;
    }
    sl_status st = complete ? sl_json_append(pth->ctx, labels, JSON_COMPACT, "labels", text, &room)
                            : sl_fail(pth->ctx, SL_ERR_NOMEM, "out of memory for labels");
    json_decref(labels);
    return st == SL_OK ? sl_blob_append(pth->ctx, text, &room, "", 1) : st;
}

// Become metadata "labels"; what is no list of names that can be printed is stepped over.
static sl_status read_labels(sl_pth *pth, const sl_pickle *top)
{
    const sl_pickle *names = find_names(top);
    sl_tensor_set *set = pth->set;
    sl_blob text = { 0 };
    if (!names)
        return SL_OK;
    sl_status st = write_labels(pth, names, &text);
    if (st == SL_OK) {
        const char *value = sl_arena_strdup(pth->ctx, &set->arena, (const char *)text.data);
        set->meta = sl_alloc(pth->ctx, 1, sizeof(*set->meta));
        if (set->meta && value)
            set->meta[set->meta_count++] = (sl_meta) { "labels", value };
        else
            st = SL_ERR_NOMEM;
    }
    sl_blob_free(&text);
    return st;
}

static sl_status read_archive(sl_pth *pth)
{
    size_t data = 0;
    const sl_pickle *top = NULL, *dict = NULL;
    sl_status st = find_root(pth, &data);
    if (st == SL_OK)
        st = check_byte_order(pth);
    if (st == SL_OK)
        st = sl_pickle_check_size(pth->ctx, sl_zip_size(pth->zip, data), pth->path);
    if (st == SL_OK)
        st = sl_zip_read(pth->ctx, pth->zip, data, &pth->pickle);
    if (st == SL_OK)
        st = sl_pickle_parse(pth->ctx, pth->pickle.data, pth->pickle.size, pth->path, &pth->arena,
                             &top);
    if (st == SL_OK)
        st = choose_dict(pth, top, &dict);
    if (st == SL_OK)
        st = read_tensors(pth, dict);
    return st == SL_OK ? read_labels(pth, top) : st;
}

sl_status sl_pth_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                       sl_tensor_set **out)
{
    sl_pth pth = { .ctx = ctx, .path = name };
    *out = NULL;
    sl_status st = sl_zip_open(ctx, data, size, name, &pth.zip);
    if (st != SL_OK)
        goto done;
    st = sl_tensor_set_new(ctx, name, &pth.set);
    if (st != SL_OK)
        goto done;
    pth.set->is_pth = true;
    st = read_archive(&pth);
    if (st != SL_OK)
        goto done;
    *out = pth.set;
    pth.set = NULL;
done:
    sl_tensor_set_free(pth.set);
    free(pth.is_loaded);
    sl_arena_free(&pth.arena);
    sl_blob_free(&pth.pickle);
    sl_zip_free(pth.zip);
    return st;
}
