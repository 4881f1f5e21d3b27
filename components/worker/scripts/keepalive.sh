#!/bin/sh
# A kept-alive action in shell: cluster_worker --keep-alive -q QUEUE keepalive.sh. Counts the words of each message.
echo 'ready 1' >&3
while IFS= read -r body; do
    if printf '%s\n' "$body" | wc -w; then
        echo 'ok' >&3
    else
        echo 'retry 30 wc failed' >&3
    fi
done
