#!/bin/sh
# Sends a document and a JSON Schema, shows the events as they come, and prints the result.
#
#   sh follow.sh http://127.0.0.1:8080 invoice.pdf invoice.schema.json
#
# Needs curl. An API key is taken from RIVULET_KEY.
set -eu
[ $# = 3 ] || { echo "usage: sh follow.sh SERVER DOCUMENT SCHEMA" >&2; exit 2; }
api=$1/v1/extract

ask() { curl -sS --fail-with-body ${RIVULET_KEY:+-H "Authorization: Bearer $RIVULET_KEY"} "$@"; }
member() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }

# Start.
document=$(ask -F "file=@$2" "$api/documents/upload" | member document_id)
job=$(printf '{"document_id":"%s","schema":%s}' "$document" "$(cat "$3")" |
  ask -H 'Content-Type: application/json' --data-binary @- "$api/jobs" | member job_id)

# Follow: -N shows each event as it comes. When the connection is lost before the end, go on behind the last id.
# A frame that was cut comes again whole, so what is shown may have pieces twice; the result below has not.
seen=$(mktemp)
trap 'rm -f "$seen"' EXIT
last=0
while :; do
  ask -N -H "Last-Event-ID: $last" "$api/jobs/$job/events" | tee -a "$seen" >&2
  grep -q '^event: end$' "$seen" && break
  echo >> "$seen"
  sleep 1
  # Waits for a server that is away, longer each time, and stops where the job is gone.
  ask --retry 8 --retry-connrefused -o /dev/null "$api/jobs/$job"
  last=$(sed -n 's/^id: .*\.\([0-9]*\)$/\1/p' "$seen" | tail -n 1)
  last=${last:-0}
done

ask "$api/jobs/$job/results"
echo
