// SPDX-License-Identifier: MIT
// tensor/dtype.c: element types, shapes, and the way from any type to f32.
#include "tensor/tensor.h"

#include <math.h>

// Files of every format read here are little-endian, and their bytes are used in place.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "softlens runs on little-endian machines");

static const struct {
    const char *name;
    size_t size;
} dtypes[SL_DTYPE_COUNT] = {
    [SL_F32] = { "F32", 4 }, [SL_F16] = { "F16", 2 }, [SL_BF16] = { "BF16", 2 },
    [SL_F64] = { "F64", 8 }, [SL_U8] = { "U8", 1 },   [SL_I8] = { "I8", 1 },
    [SL_I16] = { "I16", 2 }, [SL_I32] = { "I32", 4 }, [SL_I64] = { "I64", 8 },
};

size_t sl_dtype_size(sl_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *sl_dtype_name(sl_dtype dtype)
{
    return dtypes[dtype].name;
}

bool sl_shape_elements(const sl_shape *shape, size_t *out)
{
    size_t product = 1;
    if (shape->rank > SL_MAX_RANK)
        return false;
    // Looked for first: [2^40, 2^40, 0] has no elements and no overflow.
    for (unsigned i = 0; i < shape->rank; i++)
        if (shape->dim[i] == 0)
            product = 0;
    for (unsigned i = 0; i < shape->rank && product > 0; i++)
        if (shape->dim[i] > SIZE_MAX || !sl_mul(product, (size_t)shape->dim[i], &product))
            return false;
    *out = product;
    return true;
}

bool sl_shape_equal(const sl_shape *a, const sl_shape *b)
{
    return a->rank == b->rank && a->rank <= SL_MAX_RANK &&
           memcmp(a->dim, b->dim, a->rank * sizeof(a->dim[0])) == 0;
}

void sl_shape_text(const sl_shape *shape, char *text, size_t size)
{
    char all[SL_MAX_RANK * 22 + 3] = "["; // 20 digits, a comma and a space for each
    size_t used = 1;
    for (unsigned i = 0; i < shape->rank && i < SL_MAX_RANK; i++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)shape->dim[i]);
    snprintf(all + used, sizeof(all) - used, "]");
    snprintf(text, size, "%s", all);
}

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

// Masks instead of branches, so that loops over it become vector code: of a plain choice gcc makes
// a branch, as arithmetic on floats could trap. A subnormal is its mantissa in units of 2^-24.
static inline float half_to_float(uint16_t x)
{
    uint32_t magnitude = x & 0x7fffu;
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    uint32_t bits = (magnitude << 13) + (112u << 23); // the bias goes from 15 to 127
    float subnormal = (float)(int32_t)magnitude * 0x1p-24f;
    uint32_t subnormal_bits;
    memcpy(&subnormal_bits, &subnormal, sizeof(subnormal_bits));
    uint32_t is_odd = 0u - (uint32_t)(magnitude >= 0x7c00u); // infinity and NaN
    uint32_t is_subnormal = 0u - (uint32_t)(magnitude < 0x0400u);
    bits += is_odd & (112u << 23);
    bits = (bits & ~is_subnormal) | (subnormal_bits & is_subnormal);
    return float_of_bits(bits | sign);
}

float sl_f16_to_f32(uint16_t x)
{
    return half_to_float(x);
}

uint16_t sl_f32_to_f16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) // NaN: made quiet, the upper payload kept
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x47800000u) // 2^16 and more; 65520 to 65536 overflow by the carry below
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) { // 2^-14 and more: normal
        uint32_t rebiased = magnitude - (112u << 23);
        return (uint16_t)(sign | (rebiased + 0xfffu + (rebiased >> 13 & 1u)) >> 13);
    }
    if (magnitude <= 0x33000000u) // 2^-25 is half of the smallest: a tie, and zero is even
        return (uint16_t)sign;
    uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t shift = 126u - (magnitude >> 23); // 14 to 24
    uint32_t half = 1u << (shift - 1), rest = mantissa & ((1u << shift) - 1u);
    uint32_t rounded = mantissa >> shift;
    if (rest > half || (rest == half && (rounded & 1u)))
        rounded++;
    return (uint16_t)(sign | rounded);
}

// memcpy: data of a mapped file may lie anywhere.
#define CONVERT(type, value)                                                                       \
    for (size_t i = 0; i < count; i++) {                                                           \
        type x;                                                                                    \
        memcpy(&x, src + i * sizeof(x), sizeof(x));                                                \
        dst[i] = (value);                                                                          \
    }                                                                                              \
    break

void sl_tensor_to_f32(const sl_tensor *tensor, float *dst)
{
    const uint8_t *src = tensor->data;
    size_t count = tensor->bytes / sl_dtype_size(tensor->dtype);
    if (count == 0)
        return;
    switch (tensor->dtype) {
    case SL_F32:
        memcpy(dst, src, count * sizeof(*dst));
        break;
    case SL_F16:
        CONVERT(uint16_t, half_to_float(x));
    case SL_BF16:
        CONVERT(uint16_t, float_of_bits((uint32_t)x << 16));
    case SL_F64:
        CONVERT(double, (float)x);
    case SL_U8:
        CONVERT(uint8_t, (float)x);
    case SL_I8:
        CONVERT(int8_t, (float)x);
    case SL_I16:
        CONVERT(int16_t, (float)x);
    case SL_I32:
        CONVERT(int32_t, (float)x);
    case SL_I64:
        CONVERT(int64_t, (float)x);
    case SL_DTYPE_COUNT:
        break;
    }
}

// Exponents of all ones are infinity and NaN, whatever the width.
#define FIND_ODD(type, ones)                                                                       \
    {                                                                                              \
        type odd = 0;                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            type x;                                                                                \
            memcpy(&x, src + i * sizeof(x), sizeof(x));                                            \
            odd |= (type)((x & (ones)) == (ones));                                                 \
        }                                                                                          \
        return odd == 0;                                                                           \
    }

bool sl_tensor_is_finite(const sl_tensor *tensor)
{
    const uint8_t *src = tensor->data;
    size_t count = tensor->bytes / sl_dtype_size(tensor->dtype);
    switch (tensor->dtype) {
    case SL_F16:
        FIND_ODD(uint16_t, 0x7c00u)
    case SL_BF16:
        FIND_ODD(uint16_t, 0x7f80u)
    case SL_F32:
        FIND_ODD(uint32_t, 0x7f800000u)
    case SL_F64:
        for (size_t i = 0; i < count; i++) {
            double x;
            memcpy(&x, src + i * sizeof(x), sizeof(x));
            if (!isfinite((float)x))
                return false;
        }
        return true;
    default:
        return true;
    }
}
