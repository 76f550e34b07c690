# SPDX-License-Identifier: MIT
# tests/app/cluster.bash: the scripts of tools/cluster for several machines, as far as one machine
# can try them. ROOT is the source directory. Slurm has a test of its own, tools/cluster/test_slurm.sh.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
tools=$ROOT/tools/cluster
make model m.safetensors good
make picture p.png 100x80
export SOFTLENS_MODELS="$work/m.safetensors" SOFTLENS
mkdir in
for i in 1 2 3 4 5 6 7 8; do cp p.png "in/$i a.png"; done
echo damaged >in/bad.png

if command -v parallel >/dev/null; then
    HOME=$outside "$tools/parallel.sh" : 3 deblur in -o 'out of all' >"$outside/out" 2>"$outside/err" </dev/null
    status=$?
    check 'GNU parallel: status 0 though a picture failed' test "$status" = 0
    run batch merge 'out of all'
    says '8 pictures done, 1 failed, 3 shards: complete'
    for shards in 0 all; do
        "$tools/parallel.sh" : "$shards" deblur in -o none >"$outside/out" 2>"$outside/err"
        status=$?
        check "$shards slices: refused" test "$status" = 2
    done
else
    echo '# no GNU parallel here'
fi

# As an array's task, with what Slurm sets
# shellcheck disable=SC2317
task() # ID
{
    SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_JOB_ID=1 \
        bash "$tools/batch.slurm" deblur in -o tasks >"$outside/out" 2>"$outside/err" </dev/null
}
check 'a task: status 0' task 5
run batch merge tasks
check 'half of them' grep -q 'shard 2/2 never ran' "$outside/err"
check 'the other task' task 6
run batch merge tasks
says '8 pictures done, 1 failed, 2 shards: complete'

# Told that its time is over, a task ends between two pictures and asks to be queued again
mkdir bin
cat >bin/scontrol <<'END'
#!/bin/sh
echo "$@" >asked
END
chmod +x bin/scontrol
for i in {10..60}; do cp p.png "in/$i.png"; done
SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=1 SLURM_ARRAY_JOB_ID=77 \
    PATH=$work/bin:$PATH bash "$tools/batch.slurm" deblur in -o late --dense --tile 64 \
    >"$outside/out" 2>"$outside/err" </dev/null &
pid=$!
for ((wait = 0; wait < 500; wait++)); do
    [ -z "$(find late -name '*.png' 2>/dev/null)" ] || break
    sleep 0.01
done
kill -TERM "$pid"
wait "$pid"
status=$?
check "out of time: status $status, 130 unless it was done" test "$status" = 130 -o "$status" = 0
check '  asked to go on' test "$status" = 0 -o "$(cat asked 2>/dev/null)" = 'requeue 77_1'
check '  no half file' test -z "$(find late -name '*.part')"

if python3 -c 'import yaml, jsonschema' 2>/dev/null; then
    check 'the manifest' python3 "$tools/check_manifest.py"
    sed 's/completions:/completionz:/' "$tools/kubernetes.yaml" >wrong.yaml
    python3 "$tools/check_manifest.py" wrong.yaml >"$outside/out" 2>"$outside/err"
    status=$?
    check 'a misspelt one is refused' test "$status" = 1

    # The pod's command, which bash runs as its first process
    ln -s "$SOFTLENS" bin/softlens
    python3 - "$tools/kubernetes.yaml" >pod.sh <<'END'
import sys, yaml
with open(sys.argv[1]) as file:
    pod = yaml.safe_load(file)["spec"]["template"]["spec"]
print(pod["containers"][0]["command"][2].replace("/pictures", "in").replace("/16", "/$SLICES"))
END
    pod() # SLICES OUTPUT
    {
        SLICES=$1 JOB_COMPLETION_INDEX=0 PATH=$work/bin:$PATH bash -c "$(sed "s#/output#$2#" pod.sh)" \
            >"$outside/out" 2>"$outside/err" </dev/null
    }
    pod 9 pods
    status=$?
    check "a pod: status $status, 0" test "$status" = 0
    pod 0 pods
    status=$?
    check "wrong use: status $status, 2" test "$status" = 2
    pod 1 'late-pods --dense --tile 64' &
    pid=$!
    for ((wait = 0; wait < 500; wait++)); do
        [ -z "$(find late-pods -name '*.png' 2>/dev/null)" ] || break
        sleep 0.01
    done
    pkill -TERM -P "$pid" bash
    wait "$pid"
    status=$?
    check "evicted: status $status, 130 unless it was done" test "$status" = 130 -o "$status" = 0
    check '  no half file' test -z "$(find late-pods -name '*.part')"
else
    echo '# no python3-yaml and python3-jsonschema here'
fi

# The image has every library that the program asks for
if command -v readelf >/dev/null && dpkg -S /bin/bash >/dev/null 2>&1; then
    for library in $(readelf -d "$SOFTLENS" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -Ev '^lib(c|m|gcc_s|asan|ubsan|softlens)\.'); do
        dpkg -S "*/$library" 2>/dev/null | sed 's/:.*//' | sort -u >packages # or that of another ABI
        check "the image has $library" grep -qwFf packages "$tools/Containerfile"
    done
else
    echo '# no readelf, or not Debian'
fi
finish
