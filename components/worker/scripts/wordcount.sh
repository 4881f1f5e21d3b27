#!/bin/sh
# An action in sh: the words of a message, most frequent first, `wordcount.sh [FOLDER]`: a file for each out.
# Exit code 0 says done; 65 says that no further try can help; anything else asks for another try.
set -eu

folder=${1:-/tmp}
mkdir -p "$folder"

# A message can be worked on twice; a rename leaves either the old file or the new one, never half of one.
draft=$(mktemp "$folder/.draft-XXXXXX")
trap 'rm -f "$draft"' EXIT
id=$(printf %s "${AMQP_MESSAGE_ID:-${draft##*-}}" | tr -c 'A-Za-z0-9_-' _)

grep -aoE '[[:alpha:]]+' | sed 's/.*/\L&/' | sort | uniq -c | sort -k1,1nr -k2 | awk '{ print $2 "\t" $1 }' >"$draft"
if ! [ -s "$draft" ]; then
    echo "wordcount.sh: there is no word in it" >&2
    exit 65
fi
chmod a+r "$draft"
words=$(wc -l <"$draft")
mv -T "$draft" "$folder/wordcount-$id.tsv"
echo "wordcount.sh: $words different words, results in $folder/wordcount-$id.tsv"
