// SPDX-License-Identifier: MIT
// tests/base/sync.h: fsync, counted, and made to fail. The linker is told --wrap=fsync.
#ifndef TESTS_BASE_SYNC_H
#define TESTS_BASE_SYNC_H

#include <errno.h>

static int sync_error; // what it fails with; 0: it works
static int syncs;      // of all tests that ran in this process

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    syncs++;
    errno = sync_error;
    return sync_error ? -1 : __real_fsync(fd);
}

#endif
