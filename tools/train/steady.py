# SPDX-License-Identifier: MIT
"""What every long run on a CPU needs: memory kept, denormals flushed, workers that train together,
files replaced whole, a schedule of steps or of time, averaged weights, a log."""

import csv
import ctypes
import ctypes.util
import datetime
import os
import subprocess
import sys
import time

import torch
from torch import distributed


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


def _with_jemalloc():
    """Begins the program again with jemalloc in place of glibc's malloc, where it is installed: that
    one, told to keep what is freed, walks long lists of it, an eighth of a step. What lies unused
    for ten seconds goes back: a step is as fast, and a process stays below 600 MB where it grew by
    400 a minute."""
    library = ctypes.util.find_library("jemalloc")
    if not library or "jemalloc" in os.environ.get("LD_PRELOAD", ""):
        return
    os.environ["LD_PRELOAD"] = f"{library} {os.environ.get('LD_PRELOAD', '')}".strip()
    os.environ.setdefault("MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:0,thp:always")
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _rendezvous(args):
    return os.path.join(os.path.abspath(args.out), "rendezvous")


def with_workers(train, args):
    """Calls train(args) in this process and, with another `rank` each, in args.workers - 1 others."""
    others = []
    _with_jemalloc()
    if args.rank == 0 and args.workers > 1:
        if os.path.exists(_rendezvous(args)):
            os.remove(_rendezvous(args))
        others = [subprocess.Popen([sys.executable, *sys.argv, "--rank", str(rank)])
                  for rank in range(1, args.workers)]
    train(args)
    for other in others:
        other.wait()


def join(args):
    """Waits for the other workers. One may be paused for long afterwards."""
    if args.workers > 1:
        distributed.init_process_group("gloo", init_method="file://" + _rendezvous(args),
                                       rank=args.rank, world_size=args.workers,
                                       timeout=datetime.timedelta(hours=12))


def mean_of_workers(flat, workers):
    """In place."""
    if workers > 1:
        distributed.all_reduce(flat)
        flat /= workers


def first_worker_says(value, workers):
    said = torch.tensor([value], dtype=torch.float64)
    if workers > 1:
        distributed.broadcast(said, 0)
    return said.item()


def average_gradients(model, workers):
    """Over the workers; whether all of it is finite."""
    flat = torch.cat([p.grad.flatten() for p in model.parameters()])
    mean_of_workers(flat, workers)
    start = 0
    for p in model.parameters():
        p.grad = flat[start:start + p.numel()].view_as(p)
        start += p.numel()
    return bool(torch.isfinite(flat).all())


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
