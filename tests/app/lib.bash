# SPDX-License-Identifier: MIT
# tests/app/lib.bash: what the scripts that try the program share. Meson gives SOFTLENS, the
# program, and MAKER, which makes and checks files. Needs bash and coreutils only.
# A script sources this file, checks, and ends with `finish`.
set -u
export LC_ALL=C

work=$(mktemp -d)
outside=$(mktemp -d) # what the program printed; not in $work, which is watched
trap 'rm -rf "$work" "$outside"' EXIT
cd "$work" || exit 1
count=0
failed=0

# report STATUS NAME: one line; with a status other than 0 what the program printed goes below it.
report()
{
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        failed=$((failed + 1))
        echo "not ok $count - $2"
        sed 's/^/# out: /' "$outside/out" 2>/dev/null
        sed 's/^/# err: /' "$outside/err" 2>/dev/null
        echo "# status: ${status-}"
    fi
}

# check NAME COMMAND...: the command has to succeed.
check()
{
    local name=$1
    shift
    "$@" 2>>"$outside/err"
    report $? "$name"
}

# run ARGUMENTS...: the program; leaves $status and $outside/out and err.
run()
{
    "$SOFTLENS" "$@" >"$outside/out" 2>"$outside/err" </dev/null
    status=$?
}

# Every name below $work with its kind; of files also what changes when somebody writes to them.
snapshot()
{
    find . -type f -printf '%p %s %T@ %i\n' -o -printf '%p %y %l\n' | sort
}

one_line()
{
    [ "$(wc -l <"$outside/err")" = 1 ] && grep -q '^softlens: .' "$outside/err"
}

# refused STATUS PATTERN ARGUMENTS...: that status, one line on stderr that matches, nothing on
# stdout, and no file made, changed or removed.
refused()
{
    local want=$1 pattern=$2 before after
    shift 2
    before=$(snapshot)
    run "$@"
    after=$(snapshot)
    [ "$status" = "$want" ] && one_line && grep -qiE -- "$pattern" "$outside/err" &&
        [ ! -s "$outside/out" ] && [ "$before" = "$after" ]
    report $? "refused ($want): ${*}"
}

# accepted ARGUMENTS...: status 0, and nothing on stderr.
accepted()
{
    run "$@"
    [ "$status" = 0 ] && [ ! -s "$outside/err" ]
    report $? "accepted: ${*}"
}

says() # PATTERN: the last run's stdout matches
{
    grep -qE -- "$1" "$outside/out"
    report $? "says: $1"
}

make() # ARGUMENTS of maker...; a failure ends the script
{
    "$MAKER" "$@" || exit 1
}

sign() # FROM.jpg TO.jpg: the same picture, by an artist as EXIF tells
{
    {
        head -c 2 "$1"
        printf '\xff\xe1\x00\x2fExif\x00\x00II\x2a\x00\x08\x00\x00\x00\x01\x00'
        printf '\x3b\x01\x02\x00\x0d\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00SomebodyName\x00'
        tail -c +3 "$1"
    } >"$2"
}

tells() # FILE...: whose each is
{
    local file
    for file; do grep -q SomebodyName "$file" || return 1; done
}

tells_nothing() # FILE...
{
    ! cat "$@" | grep -q SomebodyName
}

finish()
{
    echo "1..$count"
    [ "$failed" = 0 ] || echo "# $failed of $count failed"
    exit $((failed > 0))
}
