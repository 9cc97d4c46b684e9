#!/usr/bin/env bash
# Append throughput, as ratios on the machine at hand: absolute numbers of one machine say little about another. `make bench`.
#
#   raw        the bytes of the resulting log written again by dd, durably, 256 KiB at a time: what the disk could do
#   alone      tally import into one region
#   again      the same import once more: every event is a duplicate
#   mirrored   tally import into one region, until a second one holds everything
set -eu -o pipefail
cd "$(dirname "$0")/.."
bin=$PWD/build/bin
count=${EVENTS:-200000}
work=$(mktemp -d -p "${TMPDIR:-/tmp}")
trap 'kill -9 $(jobs -p) 2>/dev/null || true; wait 2>/dev/null; rm -rf "$work"' EXIT

read -r port_a port_b < <(/usr/bin/python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')
a=127.0.0.1:$port_a
b=127.0.0.1:$port_b

awk -v count="$count" 'BEGIN {
    for (i = 0; i < count; i++)
        printf "{\"id\":\"00000000-0000-7000-8000-%012x\",\"context\":\"bank\",\"partition\":\"p\",\"stream\":\"account-%d\",\"type\":\"Deposited\",\"payload\":{\"n\":%d,\"amount\":\"123.45\",\"text\":\"%0100d\"}}\n",
               i, i % 5000, i, i
}' > "$work/events.ndjson"

start() {
    "$bin/tallyd" --data "$work/$1" > "$work/$1.out" 2> "$work/$1.err" &
    for _ in $(seq 100); do
        grep -q ready "$work/$1.out" && return
        sleep 0.1
    done
    cat "$work/$1.err" >&2
    exit 1
}

# seconds COMMAND…: how long it took.
seconds() {
    local begin=$EPOCHREALTIME
    "$@" > "$work/output" 2>&1 || { cat "$work/output" >&2; exit 1; }
    awk -v from="$begin" -v to="$EPOCHREALTIME" 'BEGIN { print to - from }'
}

import() {
    "$bin/tally" import "$work/events.ndjson" --server "$1"
}

holds_all() {
    until [ "$("$bin/tally" status --server "$1" --json | jq "[.logs[] | select(.origin == \"bank/$2/1\") | .size] | add // 0")" = "$count" ]; do
        sleep 0.02
    done
}

mirrored() {
    import "$a"
    holds_all "$b" a
}

report() {
    awk -v name="$1" -v seconds="$2" -v base="$3" -v count="$count" 'BEGIN {
        printf "%-9s %8.2f s %10.0f events/s %8.2f of %s\n", name, seconds, count / seconds, base / seconds, "alone" }'
}

"$bin/tally" init "$work/solo" --cluster bank --region solo --listen "$a" --context bank=solo > /dev/null
start solo
alone=$(seconds import "$a")
again=$(seconds import "$a")
kill %%
wait 2>/dev/null || true
cat "$work"/solo/logs/solo-1/*.seg > "$work/bytes"
raw=$(seconds dd if="$work/bytes" of="$work/copy" bs=256K oflag=direct,dsync)

"$bin/tally" init "$work/a" --cluster bank --region a --listen "$a" --peer b="$b" --context bank=a > /dev/null
"$bin/tally" init "$work/b" --cluster bank --region b --listen "$b" --peer a="$a" --context bank=a > /dev/null
cp "$work/a/keys/region.pub" "$work/b/keys/peer-a.pub"
cp "$work/b/keys/region.pub" "$work/a/keys/peer-b.pub"
start a
start b
both=$(seconds mirrored)

report alone "$alone" "$alone"
report again "$again" "$alone"
report mirrored "$both" "$alone"
report raw "$raw" "$alone"
