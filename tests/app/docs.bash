# SPDX-License-Identifier: MIT
# tests/app/docs.bash: the manual and the completions name exactly the options that there are. ROOT
# is the source directory.
# shellcheck source=lib.bash disable=SC2154
. "${BASH_SOURCE%/*}/lib.bash"
manual=$ROOT/docs/man/softlens.1
zsh_file=$ROOT/completions/_softlens
commands=$("$SOFTLENS" --list-options | grep -v -e '^-' -e '^help$')
check 'there are commands' test "$(wc -w <<<"$commands")" = 13

same() # NAME WANT HAVE: sets of words
{
    diff <(sort -u <<<"$2") <(sort -u <<<"$3") >"$outside/err"
    report $? "$1"
}

# Lines of the manual from a heading to the next.
section() # HEADING
{
    awk -v heading="$1" '/^\.S[SH]/ { on = index($0, heading) } on' "$manual" | sed 's/\\-/-/g'
}

tagged() # the options that paragraphs of the text begin with
{
    grep -A 1 '^\.TP' | grep '^\\fB-' | grep -oE -e '\\fB--?[a-zA-Z0-9-]+' | sed 's/^\\fB//'
}

# What bash offers after `softlens COMMAND -`.
bash_offers() # COMMAND
{
    bash -c '. "$1"; COMP_WORDS=(softlens "$2" -) COMP_CWORD=2; _softlens
        printf "%s\n" "${COMPREPLY[@]}"' - "$ROOT/completions/softlens.bash" "$1"
}

# And for the value of an option.
bash_values() # COMMAND OPTION
{
    bash -c '. "$1"; COMP_WORDS=(softlens "$2" "$3" "") COMP_CWORD=3; _softlens
        printf "%s\n" "${COMPREPLY[@]}"' - "$ROOT/completions/softlens.bash" "$1" "$2"
}

# The words that an option takes, from its answer to another one; nothing where it takes more than words.
choices() # COMMAND OPTION
{
    "$SOFTLENS" "$1" "$2=?" 2>&1 | sed -n 's/.*; give one of \([a-z0-9|]*\);.*/\1/p' | tr '|' '\n'
}

# The options that _arguments is given in a branch of the zsh file, lists included. What stands in
# parentheses at the front of a word excludes others and declares nothing.
zsh_offers() # COMMAND
{
    local text list lists
    text=$(awk -v label="^        $1\\\\)" '$0 ~ label { on = 1 } on; /;;/ { on = 0 }' "$zsh_file")
    lists=$(grep -oE '\$[a-z]+' <<<"$text" | sort -u | tr -d '$')
    for list in $lists; do
        text+=$(awk -v label="^    $list=\\\\(" '$0 ~ label { on = 1 } on; /\)$/ { on = 0 }' \
            "$zsh_file")
    done
    sed -E "s/'\([^)]*\)/'/g; s/\[[^]]*\]//g" <<<"$text" |
        grep -oE -e "['\"{,]\*?--?[a-z0-9-]+" | sed -E "s/^.\*?//"
}

for command in $commands; do
    options=$("$SOFTLENS" --list-options "$command")
    check "$command has options" test -n "$options"
    same "manual: $command" "$options" \
        "$(section "softlens $command" | tagged; section 'OPTIONS OF EVERY' | tagged)"
    same "bash: $command" "$options" "$(bash_offers "$command")"
    same "zsh: $command" "$options" "$(zsh_offers "$command")"
    check "zsh: $command is among the commands" grep -q "^        '$command:" "$zsh_file"
    for option in --format --inverse --nms --on-error --overlay-style --precision --simd --tta; do
        words=$(grep -qxe "$option" <<<"$options" && choices "$command" "$option")
        [ -z "$words" ] || same "bash: values of $command $option" "$words" \
            "$(bash_values "$command" "$option")"
    done
done
# Members of JSON, as the manual's OUTPUT names them
make model lmd.safetensors good
make soft classifier.safetensors good
make picture a.png 40x30
output=$(section OUTPUT)
documented() # ARGUMENTS of the program: all that it prints is in the manual
{
    local key
    accepted "$@"
    check "$1 prints members" grep -q '": *[^ ]' "$outside/out"
    for key in $(grep -oE '"[a-z0-9_]+": ?' "$outside/out" | tr -d '": ' | sort -u); do
        check "manual: $1 prints $key" grep -qE "^\.BR? $key( |\$)" <<<"$output"
    done
}
documented deblur a.png --json --model lmd.safetensors -o sharp.png --heat heat.png --compare both.png
documented classify a.png --json --model classifier.safetensors
documented classify a.png --jsonl --model classifier.safetensors
documented enroll my.gallery thing a.png --json --model classifier.safetensors
documented detect a.png --json --model "$ROOT/tests/data/golden/retina-plain.safetensors" \
    --refine classifier.safetensors --max 2 -o found.png
cp found.json "$outside/out"
for key in $(grep -oE '"[a-z0-9_]+": ' found.json | tr -d '": ' | sort -u); do
    check "manual: NAME.json has $key" grep -qE "^\.BR? $key( |\$)" <<<"$output"
done
documented batch deblur a.png --json --quiet --model lmd.safetensors -o batch/

check 'bash offers the commands' test "$(bash -c '. "$1"; COMP_WORDS=(softlens "") COMP_CWORD=1
    _softlens; echo "${#COMPREPLY[@]}"' - "$ROOT/completions/softlens.bash")" = 16

for value in '' 'p'; do # as bash hands on --format=, and --format=p
    check "bash offers values behind --format=$value" test "$(bash -c '. "$1"
        COMP_WORDS=(softlens deblur --format = $2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _softlens
        echo "${COMPREPLY[0]}"' - "$ROOT/completions/softlens.bash" "$value")" = png
done

mkdir Pictures
check 'bash offers folders below ~' test "$(HOME=$work bash -c '. "$1"; COMP_WORDS=(softlens deblur "~/Pic")
    COMP_CWORD=2; _softlens; echo "${COMPREPLY[@]}"' - "$ROOT/completions/softlens.bash")" = '~'/Pictures

if command -v mandoc >/dev/null; then
    check 'mandoc finds no fault' mandoc -T lint -W warning "$manual"
fi
if man --version 2>/dev/null | grep -q 'man 2'; then
    check 'man has no warnings' test -z "$(man --warnings -l "$manual" 2>&1 >/dev/null)"
fi
if command -v zsh >/dev/null; then
    check 'zsh reads its file' zsh -n "$zsh_file"
fi
finish
