#compdef inv
# Completes ./inv in zsh: eval "$(./inv completion zsh)" now, or in ~/.zshrc.

typeset -g _inv_root=@ROOT@
typeset -g _inv_stamp=@STAMP@
typeset -g _inv_table=@TABLE@

# When the commands have changed, takes them anew, once; what cannot be read stays as it was.
_inv_refresh() {
    local time newest=0
    for time in $(stat -c %Y -- $_inv_root/tasks.py $_inv_root/commands/*.py(N) 2>/dev/null); do
        (( time > newest )) && newest=$time
    done
    [[ $newest == $_inv_stamp ]] && return
    _inv_stamp=$newest
    eval "$($_inv_root/.venv/bin/python -Es $_inv_root/tasks.py --search-root $_inv_root completion zsh 2>/dev/null)"
}

# Another project may have an inv of its own; one from elsewhere, in this folder, runs what is here.
_inv_is_ours() {
    local found=${~1}
    [[ $found == */* ]] || found=$commands[$found]
    [[ -z $found || $PWD/ == $_inv_root/* || $found -ef $_inv_root/inv || -e ${found:h}/commands/completion.zsh ]]
}

_inv() {
    local line word command takes key
    local -a parts names flags
    local -A values
    _inv_is_ours $words[1] || { _default; return }
    _inv_refresh
    for line in ${(f)_inv_table}; do
        parts=("${(@s:|:)line}")
        values+=("$parts[1] $parts[2]" "$parts[3]")
        if [[ -z $parts[2] && -n $parts[1] ]]; then names+=("$parts[1]:${line#*\|*\|*\|}"); fi
    done
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ -n $takes ]]; then
            takes=
        elif [[ $word == --*=* ]]; then
            continue
        elif [[ $word == -* ]]; then
            key="$command $word" takes=$values[$key]
        elif key="$word "; (( $+values[$key] )); then
            command=$word
        fi
    done
    if [[ -z $takes && $PREFIX == --*=* ]]; then
        key="$command ${PREFIX%%=*}" takes=$values[$key]
        compset -P '*='
    fi
    case $takes in
        FILE) _files ;;
        ACTION)
            compadd -- $_inv_root/components/worker/scripts/*(N:t)
            _files
            ;;
        COMMAND) _describe command names ;;
        [A-Z]*) _message $takes ;;
        ?*)
            compadd -- ${${(s: :)takes}:#*:}
            compadd -S '' -- ${(M)${(s: :)takes}:#*:}
            ;;
        *)
            for line in ${(M)${(f)_inv_table}:#$command\|--*}; do
                parts=("${(@s:|:)line}")
                flags+=("$parts[2]:${line#*\|*\|*\|}")
            done
            key="$command "
            compadd -- ${(s: :)values[$key]}
            if [[ -z $command || $PREFIX == [^-]* ]]; then _describe command names; fi
            if [[ $PREFIX != [^-]* ]]; then _describe -o flag flags; fi
            ;;
    esac
}

# As a file of $fpath, this is _inv itself.
if [[ ${funcstack[1]-} == _inv ]]; then
    _inv "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _inv inv
fi
