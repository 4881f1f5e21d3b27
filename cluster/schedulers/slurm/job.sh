# The body of each job, below the variables that `script.py` writes above it; bash. It starts the app's command, says in
# a small file how it is, and passes signals on, each with its own meaning. The shell stays: it has to take its leave.
#
#   TERM  Our stop, which reaches this shell alone (scancel -b), or an end by Slurm, which reaches every process of the job.
#         The app is told; a worker knows by a TERM of its own which of the two it is.
#   USR2  Our stop that waits for nothing: the app is killed.
#   HUP   The app is ended, and started again in this very job, which keeps what it has of its node.
#   USR1  The time limit is near (sbatch --signal): the app is told, and another job takes this one's place.

# shellcheck shell=bash disable=SC2154,SC2317,SC2086

umask 077
id=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-here}}_${SLURM_ARRAY_TASK_ID:-0}
node=${SLURMD_NODENAME:-$(hostname)}
if [ -n "$is_trial" ]; then id=trial_$$; fi # it may be a step of a job that runs
name=$project-$slug-$id
job_note=$folder/jobs/$id

# One line on how this job is: WORD NODE SECONDS [MORE].
note() {
    word=$1
    shift
    printf '%s %s %s %s\n' "$word" "$node" "$(date +%s)" "$*" >"$job_note.new" && mv -f "$job_note.new" "$job_note"
}

finish() {
    code=$1
    shift
    if [ -n "$watcher" ]; then kill "$watcher" 2>/dev/null; fi
    end_rest
    note ended "$code" "$*"
    rm -rf "$own"
    trap - TERM
    exit "$code"
}

# Kill all that the app has started and left. Not every Slurm finds what has a session of its own and no parent.
end_rest() {
    rest=$(grep -lszxF "MESOS_TASK_ID=$name" /proc/[0-9]*/environ | sed 's,/environ,,; s,/proc/,,')
    if [ -n "$rest" ]; then kill -KILL $rest 2>/dev/null; fi
}

fail() {
    echo "error: $*" >&2
    finish 78 "$@"
}

# Set $CLUSTER_PYTHON to a Python that is new enough.
find_python() {
    for CLUSTER_PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$CLUSTER_PYTHON" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            export CLUSTER_PYTHON
            return
        fi
    done
    return 1
}

# Start another job of this kind, which takes the place of this one. Slurm's own requeue would make it wait two minutes.
replace() {
    if [ -e "$job_note.stop" ]; then return 1; fi
    # Any other failure says nothing of the work.
    if [ "$(sh -c "$comes_again" >&2; echo $?)" = 1 ]; then return 1; fi
    if job=$(env -u MESOS_TASK_ID sbatch --parsable --array=1 "$folder/job.sh"); then
        echo "the time limit is near: job $job takes the place of this one"
    else
        scontrol requeue "$SLURM_JOB_ID"
    fi
}

# Seconds until the time limit of this job; nothing where it has none.
seconds_left() {
    squeue -h -j "$SLURM_JOB_ID" -o %L | awk -F '[-:]' '/^[0-9:-]+$/ {
        days = /-/ ? $1 : 0; first = /-/ ? 2 : 1; for (i = first; i <= NF; i++) rest = rest * 60 + $i
        print days * 86400 + rest }'
}

# Tell the app to end, and a worker a second time, by which it hands back what still runs, shortly before the limit.
limit_is_near() {
    interrupted=yes told=limit
    note stopping 0 "its time limit is near"
    kill -"$stop_signal" "$pid" 2>/dev/null
    if [ "$stop_signal" = INT ]; then
        (
            left=$(seconds_left)
            sleep $((${left:-60} > 40 ? ${left:-60} - 30 : 5))
            kill -INT "$pid"
        ) 2>/dev/null &
    fi
}

stop() {
    interrupted=yes told=stop
    note stopping
    if [ -n "$pid" ]; then kill -"$stop_signal" "$pid" 2>/dev/null; fi
}

begin_again() {
    interrupted=yes again=yes
    if [ -n "$pid" ]; then kill -"$stop_signal" "$pid" 2>/dev/null; fi
}

end_now() {
    trap '' TERM USR1 USR2
    disown -a # bash would print how each of them has ended
    finish 137 stopped
}

# Say that the app works, once it does, and later when it does so no longer.
watch() {
    if [ -z "$check" ]; then
        sleep "$settled_s"
        note up
        return
    fi
    until timeout "$check_timeout_s" sh -c "$check" >/dev/null 2>&1; do sleep 0.3; done
    note up
    failures=0
    while sleep "$check_interval_s"; do
        if said=$(timeout "$check_timeout_s" sh -c "$check" 2>&1); then
            if [ "$failures" -ge "$check_failures" ]; then note up; fi
            failures=0
        else
            failures=$((failures + 1))
            if [ "$failures" = "$check_failures" ]; then note ill 0 "${said%%$'\n'*}"; fi
        fi
    done
}

interrupted='' told='' again='' pid='' watcher=''
trap stop TERM
trap limit_is_near USR1
trap end_now USR2
trap begin_again HUP
own=$(mktemp -d "${TMPDIR:-/tmp}/cluster.XXXXXX") || exit 1
if [ -n "$is_trial" ]; then job_note=$own/note; fi
note starting
if [ -z "${SLURM_JOB_ID:-}${is_trial}" ]; then echo "$(hostname) $$" >"$folder/here"; fi
export HOST=$node MARATHON_APP_ID=$app_id MESOS_TASK_ID=$name CLUSTER_APP_FOLDER=$folder
export CLUSTER_WORKER_ALIVE_FILE=$own/alive
app_environment
# What sets up `module` is read by login shells alone.
# shellcheck source=/dev/null
if [ -n "$setup" ] && ! type module >/dev/null 2>&1 && [ -r /etc/profile ]; then . /etc/profile; fi
if [ -n "$setup" ]; then eval "$setup" || fail "setup ($setup) failed on $node with exit code $?"; fi
[ -d "$code_folder" ] || fail "$code_folder is not there on $node: set slurm.shared to a folder that all nodes see"
find_python || fail "there is no Python 3.11 or newer on $node: --engine-option setup='module load python' may bring one"
export PATH=$code_folder/bin:$code_folder/actions:$PATH
if [ -n "$is_trial" ]; then
    (cd "$HOME" && exec sh -c "$command") </dev/null
    finish $?
fi

pause_s=1
while [ -z "$told" ]; do
    CLUSTER_ADDRESS_BEFORE=$(cat "$folder/address" 2>/dev/null)
    export CLUSTER_ADDRESS_BEFORE
    again=''
    (cd "$HOME" && exec sh -c "$command") &
    pid=$!
    watch &
    watcher=$!
    # A trap ends a wait: the exit code is that of the one which nothing has interrupted.
    while :; do
        interrupted=''
        wait "$pid"
        code=$?
        [ -n "$interrupted" ] || break
    done
    kill "$watcher" 2>/dev/null
    if [ -n "$again" ] && [ -z "$told" ]; then continue; fi
    # What never worked is not tried again: its exit code is for a person to see.
    if [ "$code" = 0 ] || [ -n "$told" ] || ! grep -qs '^up ' "$job_note"; then break; fi
    echo "$name ended with exit code $code; it is started again in $pause_s s" >&2
    note starting
    sleep "$pause_s" &
    wait $!
    pause_s=$((pause_s < 60 ? pause_s * 2 : 60))
done
case $told in
    limit) if replace; then finish 0 replaced; else finish 0 "its time limit was near, and nothing waited (worker.scale starts others)"; fi ;;
    stop) if [ -e "$job_note.stop" ]; then finish "$code" stopped; else finish "$code" "Slurm ended it"; fi ;;
esac
finish "$code"
