#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A batch on several machines by GNU parallel over ssh. The folders are on a file system that all of
# them see, under one name, and softlens is installed on each.
#     tools/cluster/parallel.sh HOSTS SHARDS deblur /data/pics -o /data/out
# HOSTS: a file as of parallel --sshloginfile, or ":" for this machine alone. A slice whose machine
# fails is tried again, there or elsewhere; who runs the same again does what is missing.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 HOSTS SHARDS STEPS FOLDER... -o OUTPUT [OPTION]..." >&2
    exit 2
fi
hosts=$1 shards=$2
shift 2
if [[ ! $shards =~ ^[1-9][0-9]{0,4}$ ]]; then
    echo "$0: $shards: not a number of slices; give one from 1 to 99999" >&2
    exit 2
fi
login=(--sshloginfile "$hosts")
[ "$hosts" != : ] || login=(--sshlogin :)

# Status 3, some pictures failed, is no reason to try a slice again.
# shellcheck disable=SC2016
parallel "${login[@]}" --jobs "${JOBS:-1}" --retries 3 --line-buffer --workdir "$PWD" --quote \
    bash -c '"$0" batch "$@" || [ $? = 3 ]' "${SOFTLENS:-softlens}" "$@" --quiet \
    --shard "{}/$shards" ::: $(seq "$shards")
