# Completes ./inv in fish: ./inv completion fish | source, or as ~/.config/fish/completions/inv.fish.

set -g __inv_root @ROOT@
set -g __inv_stamp @STAMP@
set -g __inv_table (string split \n -- @TABLE@)

# When the commands have changed, takes them anew, once; what cannot be read stays as it was.
function __inv_refresh
    set -l newest 0
    for time in (stat -c %Y -- $__inv_root/tasks.py $__inv_root/commands/*.py 2>/dev/null)
        test $time -gt $newest; and set newest $time
    end
    test $newest = $__inv_stamp; and return
    set -g __inv_stamp $newest
    $__inv_root/.venv/bin/python -Es $__inv_root/tasks.py --search-root $__inv_root completion fish 2>/dev/null | source
end

# Another project may have an inv of its own; one from elsewhere, in this folder, runs what is here.
function __inv_is_ours
    set -l path (command -v -- (string replace -r '^~' $HOME -- $argv[1]))
    test -z "$path"; or string match -q -- "$__inv_root/*" $PWD/; and return 0
    test (path resolve -- $path) = (path resolve -- $__inv_root/inv); and return 0
    test -e (path dirname -- $path)/commands/completion.fish
end

# Prints what stands for the value of a flag of a command, or may follow a command.
function __inv_value -a command flag
    set -l line (string match -- "$command|$flag|*" $__inv_table)[1]
    string split -f 3 '|' -- $line
end

function __inv_offer
    set -l words (commandline -opc)
    __inv_is_ours $words[1]; or begin
        __fish_complete_path (commandline -ct)
        return
    end
    __inv_refresh
    set -l current (commandline -ct)
    set -l command ''
    set -l takes ''
    set -l before ''
    for word in $words[2..]
        if test -n "$takes"
            set takes ''
        else if string match -q -- '--*=*' $word
            continue
        else if string match -q -- '-*' $word
            set takes (__inv_value $command $word)
        else if string match -q -- "$word||*" $__inv_table
            set command $word
        end
    end
    if test -z "$takes"; and string match -q -- '--*=*' $current
        set -l parts (string split -m 1 = -- $current)
        set takes (__inv_value $command $parts[1])
        set before $parts[1]=
        set current $parts[2]
    end
    set -l commands (string match -r -- '^[^|]+\|\|.*' $__inv_table | string replace -r '^([^|]*)\|\|[^|]*\|' '$1\t')
    switch "$takes"
        case FILE
            __fish_complete_path $current | string replace -r '^' -- $before
        case ACTION
            path basename -- $__inv_root/components/worker/scripts/* | string replace -r '^' -- $before
            __fish_complete_path $current | string replace -r '^' -- $before
        case COMMAND
            printf '%s\n' $commands
        case '?*'
            string match -qr '^[a-z]' -- $takes; and printf '%s\n' $before(string split ' ' -- $takes)
        case ''
            string split -n ' ' -- (__inv_value $command '')
            if test -z "$command"; or string match -qr '^[^-]' -- $current
                printf '%s\n' $commands
            end
            string match -- "$command|--*" $__inv_table | string replace -r '^[^|]*\|([^|]*)\|[^|]*\|' '$1\t'
    end
end

complete -c inv -e
complete -c inv -f -a '(__inv_offer)'
