_NAME_complete() {
    # Bash ends words at `:`, which is part of every step's id: the line is split at spaces instead.
    local line=${COMP_LINE:0:COMP_POINT}
    local -a words
    read -ra words <<< "$line"
    if [[ $line == *[[:space:]] ]]; then
        words+=("")
    fi
    local current=${words[${#words[@]} - 1]}
    local IFS=$'\013'
    COMPREPLY=( $( \
        _CLAP_IFS="$IFS" \
        _CLAP_COMPLETE_INDEX=$(( ${#words[@]} - 1 )) \
        _CLAP_COMPLETE_COMP_TYPE="$COMP_TYPE" \
        _CLAP_COMPLETE_SPACE=false \
        VARIABLE=bash \
        'COMPLETER' -- "${words[@]}" \
    ) ) || unset COMPREPLY
    # Options are offered to who begins one, or where there is nothing else.
    if [[ $current != -* ]]; then
        local reply
        local -a names=()
        for reply in "${COMPREPLY[@]}"; do
            [[ $reply == -* ]] || names+=("$reply")
        done
        if (( ${#names[@]} > 0 )); then
            COMPREPLY=("${names[@]}")
        fi
    fi
    # What stands before the last `:` is not part of the word that bash replaces.
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local before=${current%"${current##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
    if [[ ${COMPREPLY[0]-} == *[=/:] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o bashdefault -F _NAME_complete PROGRAM
