# SPDX-License-Identifier: MIT
"""What every long run on a CPU needs: memory kept, denormals flushed, files replaced whole, a schedule
of steps or of time, averaged weights, a log."""

import csv
import ctypes
import datetime
import os
import time

import torch


def keep_memory():
    """Lets glibc keep what is freed: otherwise an eighth of a step goes into page faults."""
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    libc = ctypes.CDLL(None)
    for parameter, value in [(mmap_threshold, 1 << 30), (trim_threshold, (1 << 31) - 1),
                             (top_pad, 1 << 27)]:
        libc.mallopt(parameter, value)


def prepare():
    keep_memory()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def save(path, content):
    torch.save(content, path + ".part")
    os.replace(path + ".part", path)


def share_done(step, args, began):
    """Of the steps, or of the time from `began` to --finish-by if that is more; at most 1."""
    done = step / args.steps
    if args.finish_by:
        end = datetime.datetime.fromisoformat(args.finish_by).timestamp()
        done = max(done, (time.time() - began) / (end - began))
    return min(done, 1.0)


def rate(progress, step, fall_from=0.4):
    """Warm-up, a constant, then from that share of the run a straight line down to zero."""
    return min(1.0, (step + 1) / 100) * min(1.0, (1 - progress) / (1 - fall_from))


def resolution(text):
    """'192:0.4' -> (192, 0.4): that side until that share of the run."""
    side, until = text.split(":")
    return int(side), float(until)


def side(sides, progress):
    """That of the first of [(side, until), ...] that is not over; at last the last."""
    return next((s for s, until in sides if progress < until), sides[-1][0])


def follow(ema, model, step, most):
    """Draws averaged weights after the model's, faster at first."""
    decay = min(most, (1 + step) / (10 + step))
    for key, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            ema[key].lerp_(value, 1 - decay)


def log(folder, fields, *values):
    """A line of log.csv, whose first field is the time."""
    path = os.path.join(folder, "log.csv")
    fresh = not os.path.exists(path)
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(fields)
        writer.writerow([datetime.datetime.now().isoformat(timespec="seconds"), *values])
