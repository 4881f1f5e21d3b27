#!/bin/sh
# A kept-alive action in shell: cluster_worker --keep-alive -q QUEUE keepalive.sh. Counts the words of each message.
LC_ALL=C # ${#words} counts bytes then, not characters
echo 'ready 1' >&3
while IFS= read -r body; do
    if words=$(printf '%s\n' "$body" | wc -w); then
        printf '%s\n' "$words"
        echo "ok $((${#words} + 1))" >&3
    else
        echo 'retry 30 wc failed' >&3
    fi
done
