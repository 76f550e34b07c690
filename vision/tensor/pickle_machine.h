// SPDX-License-Identifier: MIT
// tensor/pickle_machine.h: the state of the pickle machine, between pickle.c, which steps through a
// pickle, and pickle_ops.c, which knows the opcodes.
#ifndef SL_TENSOR_PICKLE_MACHINE_H
#define SL_TENSOR_PICKLE_MACHINE_H

#include "tensor/pickle.h"

#define SL_PICKLE_MAX_BYTES ((size_t)32 << 20)
#define SL_PICKLE_MAX_NODES ((size_t)4 << 20)
#define SL_PICKLE_MAX_STACK ((size_t)1 << 20)
#define SL_PICKLE_MAX_MEMO ((size_t)4 << 20)

typedef struct sl_machine {
    sl_ctx *ctx;
    const char *path;
    sl_arena *arena;
    const uint8_t *data;
    size_t size, at; // `at`: the next byte
    size_t opcode_at;

    sl_pickle **stack;
    size_t height, stack_room;
    size_t *marks; // heights of the stack
    size_t mark_count, mark_room;
    sl_pickle **memo; // NULL: not set
    size_t memo_count, memo_room;
    size_t nodes;
    bool stopped;
} sl_machine;

// Opcodes with a name and no function are known and refused; the rest of the table is empty.
typedef struct sl_pickle_opcode {
    const char *name;
    sl_status (*run)(sl_machine *m, uint8_t opcode);
} sl_pickle_opcode;
extern const sl_pickle_opcode sl_pickle_opcodes[256];

sl_status sl_machine_malformed(sl_machine *m, const char *what);
sl_status sl_machine_limit(sl_machine *m, const char *what, size_t limit);

// *array: an array on the heap with room for *room entries; afterwards for at least `needed`.
sl_status sl_machine_grow(sl_machine *m, void *array, size_t *room, size_t needed, size_t size);

sl_status sl_machine_push(sl_machine *m, sl_pickle *value);
// Both are NULL on a stack that is empty above the last mark.
sl_pickle *sl_machine_pop(sl_machine *m);
sl_pickle *sl_machine_top(sl_machine *m);
// Takes the last mark and what lies above it; *first points to that until something is pushed.
sl_status sl_machine_pop_mark(sl_machine *m, sl_pickle *const **first, size_t *count);

sl_status sl_machine_new_node(sl_machine *m, sl_pickle_kind kind, sl_pickle **out);
sl_status sl_machine_push_new(sl_machine *m, sl_pickle_kind kind, sl_pickle **out);
sl_status sl_machine_add_items(sl_machine *m, sl_pickle *to, sl_pickle *const *items, size_t count);

// A little-endian number of 1, 2, 4 or 8 bytes.
sl_status sl_machine_read_number(sl_machine *m, size_t bytes, uint64_t *out);
sl_status sl_machine_read_bytes(sl_machine *m, uint64_t size, sl_pickle_text *out);
sl_status sl_machine_read_line(sl_machine *m, sl_pickle_text *out);

#endif
