// SPDX-License-Identifier: MIT
// net/check.c: whether a file has the tensors that its architecture wants.
#include "net/parts.h"

const sl_tensor *sl_find(const sl_tensor_set *set, const char *root, const char *name)
{
    char full[256];
    int length = snprintf(full, sizeof full, "%s%s", root, name);
    return (size_t)length < sizeof full ? sl_tensor_set_find(set, full) : NULL;
}

sl_status sl_check_finite(sl_checker *k, const sl_tensor *t)
{
    if (sl_tensor_is_finite(t))
        return SL_OK;
    return sl_fail(k->ctx, SL_ERR_FORMAT,
                   "%s: tensor %s holds NaN or infinity; the file is damaged or the training "
                   "diverged",
                   sl_tensor_set_path(k->set), t->name);
}

sl_status sl_expect(sl_checker *k, const char *name, sl_shape want)
{
    const char *path = sl_tensor_set_path(k->set);
    const sl_tensor *t = sl_find(k->set, k->root, name);
    if (!t)
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s%s is missing", path, k->root, name);
    if (!sl_shape_equal(&t->shape, &want)) {
        char is[128], should[128];
        sl_shape_text(&t->shape, is, sizeof is);
        sl_shape_text(&want, should, sizeof should);
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s has shape %s where %s is expected",
                       path, t->name, is, should);
    }
    if (t->dtype != SL_F32 && t->dtype != SL_F16 && t->dtype != SL_BF16 && t->dtype != SL_F64)
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s is of type %s, not floating point",
                       path, t->name, sl_dtype_name(t->dtype));
    k->seen++;
    return sl_check_finite(k, t);
}

sl_status sl_expect_pair(sl_checker *k, const char *prefix, sl_shape shape, uint64_t biases)
{
    char name[256];
    snprintf(name, sizeof name, "%s.weight", prefix);
    sl_status st = sl_expect(k, name, shape);
    if (st != SL_OK || biases == 0)
        return st;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return sl_expect(k, name, vector(biases));
}

sl_status sl_expect_pairs(sl_checker *k, const char *prefix, const sl_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s.%s", prefix, pairs[i].key);
        sl_status st = sl_expect_pair(k, name, pairs[i].shape, pairs[i].biases);
        if (st != SL_OK)
            return st;
    }
    return SL_OK;
}
