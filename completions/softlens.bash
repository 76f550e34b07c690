# SPDX-License-Identifier: MIT
# Completion of softlens for bash.

_softlens_words() # words...
{
    mapfile -t COMPREPLY < <(compgen -W "$*" -- "$_softlens_current")
}

_softlens_files() # endings separated by |, or nothing for any file
{
    local name
    compopt -o filenames 2>/dev/null
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ -z $1 || -d ${name/#\~\//"$HOME"/} || ${name,,} =~ \.($1)$ ]]; then
            COMPREPLY+=("$name")
        fi
    done < <(compgen -f -- "$_softlens_current")
}

_softlens_value() # option: completes its value; fails when it takes none
{
    case $1 in
        -o | --output | --output-dir | -g | --gallery | --images | --newer | --files0-from | --sort-into)
            _softlens_files
            ;;
        --heat | --compare) _softlens_files 'png' ;;
        --profile | --annotations | --results) _softlens_files 'json' ;;
        --input | --embedding) _softlens_files 'npy' ;;
        --log) _softlens_files 'jsonl' ;;
        --labels) _softlens_files 'txt' ;;
        --on-error) _softlens_words skip stop ;;
        --model | --refine) _softlens_files 'safetensors|pth|pt' ;;
        --format)
            case ${COMP_WORDS[1]} in
                detect) _softlens_words json jsonl coco yolo labelme cvat csv ;;
                batch) _softlens_words png jpg json jsonl coco yolo labelme cvat csv ;;
                *) _softlens_words png jpg jpeg ;;
            esac
            ;;
        --overlay-style)
            case ${COMP_WORDS[1]} in
                batch) _softlens_words boxes labels blur ;;
                *) _softlens_words boxes labels blur crop ;;
            esac
            ;;
        --nms) _softlens_words gaussian linear hard none ;;
        --tta)
            case ${COMP_WORDS[1]} in
                deblur | batch) _softlens_words flip flips ;;
                *) _softlens_words flip ;;
            esac
            ;;
        --device) _softlens_words auto cpu vulkan ;;
        --precision) _softlens_words f32 f16 bf16 ;;
        --inverse) _softlens_words soft norm ;;
        --simd) _softlens_words portable avx2 avx512 ;;
        --memory) _softlens_words 512M 1G 2G 4G ;;
        --size) _softlens_words 512x512 1024x1024 ;;
        --quality | --keep-threshold | --threads | --tile | --max-pixels | --repeats | --keep-share | \
            -k | --top | --unknown-rate | --classes | --dim | --alpha | --steps | --seed | --score | \
            --iou | --sigma | --max | --include | --exclude | --shard | -j | --jobs | --min-blur)
            COMPREPLY=()
            ;;
        *) return 1 ;;
    esac
}

_softlens()
{
    local _softlens_current=${COMP_WORDS[COMP_CWORD]}
    local previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i
    local commands='deblur detect classify batch enroll gallery info convert run eval bench devices ebv help'
    local common='-q --quiet --verbose -h --help'
    COMPREPLY=()
    if [[ $_softlens_current == = ]]; then # bash makes three words of --option=value
        _softlens_current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD == 1)); then
        _softlens_words "$commands" --help --version
        return
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do # after -- come only names
        [[ ${COMP_WORDS[i]} == -- ]] && _softlens_files && return
    done
    [[ $command != help ]] && _softlens_value "$previous" && return

    case $command:$_softlens_current in
        deblur:-*)
            _softlens_words "$common" -o --output --format --quality --strip-metadata --overwrite \
                --model --heat --compare --keep-threshold --dense --tta --shrink --device --precision --profile \
                --threads --memory --tile --max-pixels --allow-truncated --json
            ;;
        detect:-*)
            _softlens_words "$common" -o --output --format --overlay-style --no-overlay --classes --score --nms \
                --iou --sigma --max --tta --tile --size --refine --gallery --only-gallery --unknown-rate --deblur --quality \
                --strip-metadata --overwrite -r --recursive --model --device --precision --profile --threads \
                --max-pixels --allow-truncated --json
            ;;
        eval:-*)
            _softlens_words "$common" --annotations --images --results --nms --iou --sigma --max --tta --tile --size \
                --model --device --precision --profile --threads --overwrite --json
            ;;
        eval:*) _softlens_words detect ;;
        classify:-*)
            _softlens_words "$common" -k --top -g --gallery --only-gallery --unknown-rate --no-unknown --json --jsonl --csv \
                --embedding --overwrite -r --recursive --model --device --precision --threads --max-pixels \
                --allow-truncated
            ;;
        batch:-*)
            _softlens_words "$common" -o --output --include --exclude --newer --files0-from --shard -n --dry-run --watch \
                --retry-failed --on-error -j --jobs --memory --log --report --ignore-case --format \
                --overlay --overlay-style --classes --score --nms --iou --sigma --max --tta --size --refine \
                --quality --strip-metadata --min-blur --keep-threshold --dense --shrink --tile -k --top -g \
                --gallery --only-gallery --unknown-rate --no-unknown --jsonl --sort-into --model --device --precision \
                --threads --overwrite --max-pixels --allow-truncated --json
            ;;
        enroll:-*)
            _softlens_words "$common" -r --recursive --model --device --threads --max-pixels \
                --allow-truncated --json
            ;;
        info:-*) _softlens_words "$common" --size --graph --json ;;
        convert:-*) _softlens_words "$common" -o --output --inverse --labels --half --overwrite ;;
        run:-*)
            _softlens_words "$common" --input --output-dir --keep-threshold --dense --composed \
                --overwrite --device --precision --profile --threads
            ;;
        bench:-*)
            _softlens_words "$common" --size --repeats --keep-share --dense --device --precision --profile \
                --threads --simd --overwrite --json
            ;;
        devices:-*) _softlens_words "$common" --json ;;
        gallery:-*) _softlens_words "$common" --model --unknown-rate --json ;;
        ebv:-*)
            _softlens_words "$common" --classes --dim -o --output --alpha --steps --seed --overwrite \
                --threads --json
            ;;
        gallery:*)
            case $COMP_CWORD in
                3) _softlens_words list export threshold check rename remove merge ;;
                *) _softlens_files ;;
            esac
            ;;
        deblur:* | detect:* | classify:*) _softlens_files 'png|jpe?g|jpe|jfif|webp|tiff?|hei[cf]|hif|avif' ;;
        info:* | convert:* | run:* | bench:*) _softlens_files 'safetensors|pth|pt' ;;
        batch:*)
            case $COMP_CWORD in
                2) _softlens_words deblur detect classify deblur,detect deblur,classify merge ;;
                *) _softlens_files 'png|jpe?g|jpe|jfif|webp|tiff?|hei[cf]|hif|avif' ;;
            esac
            ;;
        enroll:*)
            case $COMP_CWORD in
                2) _softlens_files ;;
                3) COMPREPLY=() ;; # a label
                *) _softlens_files 'png|jpe?g|jpe|jfif|webp|tiff?|hei[cf]|hif|avif' ;;
            esac
            ;;
        help:*) _softlens_words "$commands" ;;
    esac
}

complete -F _softlens softlens
