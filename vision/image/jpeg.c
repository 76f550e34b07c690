// SPDX-License-Identifier: MIT
// image/jpeg.c: how libjpeg tells of errors, and its output into memory that is whole at every
// moment: its own way to do so loses a buffer where an error ends it.
#include "image/jpeg.h"

#include <jerror.h>

static void ignore_message(j_common_ptr jpeg, int level)
{
    (void)jpeg, (void)level;
}

static void print_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

struct jpeg_error_mgr *sl_jpeg_errors(struct jpeg_error_mgr *errors, void (*exit)(j_common_ptr))
{
    jpeg_std_error(errors);
    errors->error_exit = exit;
    errors->emit_message = ignore_message;
    errors->output_message = print_nothing;
    return errors;
}

static sl_jpeg_target *target_of(j_compress_ptr jpeg)
{
    return (sl_jpeg_target *)jpeg->dest; // its first member
}

static void rewind_buffer(j_compress_ptr jpeg)
{
    sl_jpeg_target *t = target_of(jpeg);
    t->manager.next_output_byte = t->buffer;
    t->manager.free_in_buffer = sizeof(t->buffer);
}

static void flush(j_compress_ptr jpeg, size_t size)
{
    sl_jpeg_target *t = target_of(jpeg);
    if (sl_blob_append(t->ctx, t->out, &t->capacity, t->buffer, size) != SL_OK)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
}

static boolean empty_buffer(j_compress_ptr jpeg)
{
    flush(jpeg, sizeof(target_of(jpeg)->buffer));
    rewind_buffer(jpeg);
    return TRUE;
}

static void end_buffer(j_compress_ptr jpeg)
{
    flush(jpeg, sizeof(target_of(jpeg)->buffer) - target_of(jpeg)->manager.free_in_buffer);
}

void sl_jpeg_target_set(sl_jpeg_target *target, sl_ctx *ctx, struct jpeg_compress_struct *jpeg,
                        sl_blob *out)
{
    target->manager.init_destination = rewind_buffer;
    target->manager.empty_output_buffer = empty_buffer;
    target->manager.term_destination = end_buffer;
    target->ctx = ctx;
    target->out = out;
    target->capacity = 0;
    jpeg->dest = &target->manager;
}
