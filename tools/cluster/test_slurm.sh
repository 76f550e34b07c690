#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Tries batch.slurm on a cluster of one machine: a slurmctld and a slurmd of its own, with a munged
# beside them, on free ports and in a scratch folder. Four tasks of an array share one output; one is
# killed while it works and requeued. In the end nothing is missing and nothing was done twice.
# Wants root, and Debian's slurm-wlm and munge; without them it says so and ends with status 77.
# SOFTLENS: the program; MAKER: what makes test files. tools/test.sh app-slurm sets both.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$PATH:/usr/sbin
for tool in slurmctld slurmd sbatch munged; do
    command -v "$tool" >/dev/null || { echo "there is no $tool here" && exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "slurmd wants root" && exit 77; }

scratch=$(mktemp -d)
mkdir -m 700 "$scratch/munge"
mkdir "$scratch/state" "$scratch/spool"
export SLURM_CONF=$scratch/slurm.conf
started=()

end()
{
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$scratch"
}
trap end EXIT

fail()
{
    echo "not ok - $1"
    tail -n 15 "$scratch"/*.log "$scratch"/slurm-*.out 2>/dev/null | sed 's/^/# /'
    exit 1
}

until_true() # SECONDS COMMAND...
{
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        sleep 0.2
    done
}

free_port()
{
    local port
    while port=$((20000 + RANDOM % 20000)); do
        ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && echo "$port" && return
    done
}

# ---- the cluster

head -c 1024 /dev/urandom >"$scratch/munge/key"
chmod 400 "$scratch/munge/key"
munged --foreground --force --key-file="$scratch/munge/key" --socket="$scratch/munge/socket" \
    --pid-file="$scratch/munge/pid" --seed-file="$scratch/munge/seed" >"$scratch/munged.log" 2>&1 &
started+=($!)
name=$(hostname -s)
cat >"$SLURM_CONF" <<END
ClusterName=softlens
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
AuthInfo=socket=$scratch/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=$name NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
END
until_true 20 test -S "$scratch/munge/socket" || fail 'munged does not start'
slurmctld -D >"$scratch/ctld.log" 2>&1 &
started+=($!)
slurmd -D -N "$name" >"$scratch/d.log" 2>&1 &
started+=($!)
idle()
{
    sinfo -h -o %t | grep -q '^idle$'
}
until_true 60 idle || fail 'the cluster does not come up'
echo 'ok - a cluster of one machine'

# ---- the batch

cd "$scratch" || exit 1
"$MAKER" model m.safetensors good || exit 1
"$MAKER" picture p.png 300x200 || exit 1
mkdir in
for i in {1..40}; do cp p.png "in/$i.png"; done
export SOFTLENS SOFTLENS_MODELS=$scratch/m.safetensors
# The second task's last picture is so large that the task is still at it when it is killed.
last=$("$SOFTLENS" batch deblur in -o calm --shard 2/4 --dry-run | sed -n 's/ -> .*//p' | tail -n 1)
rm "$last" && "$MAKER" picture "$last" 2400x1600 || exit 1
"$SOFTLENS" batch deblur in -o calm --dense --tile 64 --quiet || fail 'an undisturbed batch'
chmod 755 "$scratch"
job=$(sbatch --parsable --array=1-4 --output="$scratch/slurm-%a.out" "$here/batch.slurm" deblur \
    "$scratch/in" -o "$scratch/out" --dense --tile 64) || fail 'sbatch'

done_by() # SHARD: how many pictures
{
    grep -c $'^[0-9a-f]*\tD\t' "out/.softlens/$1-of-4.journal" 2>/dev/null
}
works()
{
    [ "$(done_by 2)" -gt 0 ]
}
until_true 60 works || fail 'the second task does nothing'
victim=$(pgrep -f "batch deblur $scratch/in .* --shard 2/4") || fail 'the second task is over already'
kill -9 "$victim"
before=$(done_by 2)
until_true 30 scontrol requeue "${job}_2" || fail 'scontrol requeue'
echo "ok - task 2 of 4 is killed after $before pictures, and requeued"

ended()
{
    [ -z "$(squeue -h)" ]
}
until_true 300 ended || fail 'the tasks do not end'
[ "$(grep -c 'Launching batch job' slurmd.log)" = 5 ] || fail 'no task was begun again'
"$SOFTLENS" batch merge out || fail 'the shards are not complete'
[ "$(find out -name '*.png' | wc -l)" = 40 ] || fail 'a picture is missing'
diff -r -x .softlens calm out || fail 'another result than on one machine'
twice=$(cat out/.softlens/*.journal | grep $'^[0-9a-f]*\tD\t' | cut -f 10 | sort | uniq -d)
[ -z "$twice" ] || fail "done twice: $twice"
[ -z "$(find out -name '*.part')" ] || fail 'half files are left'
echo "ok - 40 pictures, none missing, none done twice"
