# Completes ./inv in bash: eval "$(./inv completion bash)" now, or in ~/.bashrc.

_inv_root=@ROOT@
_inv_stamp=@STAMP@
_inv_table=@TABLE@

# Fills the arrays: by command the flags, and by command and flag what stands for its value.
_inv_load() {
    local command flag value
    unset _inv_flags _inv_values
    declare -gA _inv_flags _inv_values
    while IFS='|' read -r command flag value _; do
        [[ $flag == -[!-] ]] || _inv_flags["$command "]+=" $flag"
        _inv_values["$command $flag"]=$value
    done <<<"$_inv_table"
}

# When the commands have changed, takes them anew, once; what cannot be read stays as it was.
_inv_refresh() {
    local time newest=0
    for time in $(stat -c %Y -- "$_inv_root/tasks.py" "$_inv_root"/commands/*.py 2>/dev/null); do
        ((time > newest)) && newest=$time
    done
    [[ $newest == "$_inv_stamp" ]] && return
    _inv_stamp=$newest
    eval "$("$_inv_root/.venv/bin/python" -Es "$_inv_root/tasks.py" --search-root "$_inv_root" completion bash 2>/dev/null)"
}

# Another project may have an inv of its own; one from elsewhere, in this folder, runs what is here.
_inv_is_ours() {
    local path
    path=$(type -P -- "${1/#\~/$HOME}")
    [[ -z $path || $PWD/ == "$_inv_root"/* || $path -ef $_inv_root/inv || -e ${path%/*}/commands/completion.bash ]]
}

_inv() {
    local current=${COMP_WORDS[COMP_CWORD]} command='' takes='' word words='' i
    if ! _inv_is_ours "$1"; then
        compopt -o default 2>/dev/null
        return
    fi
    _inv_refresh
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            continue # bash takes --at=local apart, and
        elif [[ $word == : ]]; then
            ((i += 1)) # marathon:10.0.0.10
        elif [[ $takes ]]; then
            takes=''
        elif [[ $word == -* ]]; then
            takes=${_inv_values["$command $word"]:-}
        elif [[ ${_inv_flags["$word "]:-} ]]; then
            command=$word
        fi
    done
    [[ ${COMP_WORDS[COMP_CWORD - 1]} == : || $current == : ]] && return
    [[ $current == = ]] && current=''
    case $takes in
        FILE) compopt -o default 2>/dev/null ;;
        ACTION)
            words=$(cd -- "$_inv_root/components/worker/scripts" && printf '%s ' *)
            compopt -o default 2>/dev/null
            ;;
        COMMAND) words=${!_inv_flags[*]} ;;
        [A-Z]*) ;;
        ?*) words=$takes ;;
        '')
            words="${_inv_values["$command "]:-} ${_inv_flags["$command "]}"
            [[ $command && $current != [!-]* ]] || words+=" ${!_inv_flags[*]}"
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace 2>/dev/null
    return 0
}

_inv_load
complete -F _inv inv
