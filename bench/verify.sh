#!/usr/bin/env bash
# Verification throughput from the page cache, against what the machine can hash. `make bench` runs it after append.sh; EVENTS=N for another size.
#
#   verified   events and bytes a second of tally-verify log, the best of three runs
#   processor  events for each second of processor time: what counts on a machine that does other things meanwhile
#   bound      the same if nothing were done but SHA-256 of the same bytes, by openssl speed
#   ratio      processor / bound
#   memory     largest resident size for this log, and for one of a tenth of its entries: it must not grow with the log
set -eu -o pipefail
cd "$(dirname "$0")/.."
bin=$PWD/build/bin
count=${EVENTS:-1000000}
work=$(mktemp -d -p "${TMPDIR:-/tmp}")
trap 'kill -9 $(jobs -p) 2>/dev/null || true; wait 2>/dev/null; rm -rf "$work"' EXIT

# make_log NAME COUNT: a region's log of so many events with payloads of 256 bytes.
make_log() {
    local port
    port=$(/usr/bin/python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
    "$bin/tally" init "$work/$1" --cluster bank --region "$1" --listen "127.0.0.1:$port" --context "bank=$1" > /dev/null
    "$bin/tallyd" --data "$work/$1" > "$work/$1.out" 2>&1 &
    for _ in $(seq 100); do grep -q ready "$work/$1.out" && break; sleep 0.1; done
    awk -v count="$2" 'BEGIN {
        for (i = 0; i < count; i++)
            printf "{\"id\":\"00000000-0000-7000-8000-%012x\",\"context\":\"bank\",\"partition\":\"p\",\"stream\":\"account-%d\",\"type\":\"Deposited\",\"payload\":{\"n\":%d,\"text\":\"%0234d\"}}\n",
                   i, i % 5000, i, i
    }' | "$bin/tally" import - --server "127.0.0.1:$port" > /dev/null
    sleep 1
    kill %%
    wait %% 2> /dev/null || true
}

# Prints seconds, seconds of processor time, and kilobytes of one verification.
measure() {
    /usr/bin/python3 - "$bin/tally-verify" log "$work/$1/logs/$1-1" --key "$work/$1/keys/region.pub" << 'END'
import resource, subprocess, sys, time
begin = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f'{time.monotonic() - begin:.4f} {used.ru_utime + used.ru_stime:.4f} {used.ru_maxrss}')
END
}

make_log big "$count"
make_log small $((count / 10))
"$bin/tally-verify" log "$work/big/logs/big-1" --key "$work/big/keys/region.pub" --json > "$work/report"
bytes=$(jq .bytes "$work/report")
[ "$(jq .verified_to "$work/report")" = "$count" ] || { echo "not all $count events were verified" >&2; exit 1; }
best=$(for _ in 1 2 3; do measure big; done | sort -n | head -n 1)
small=$(measure small)
hashed=$(openssl speed -seconds 1 -bytes 256 -evp sha256 2> /dev/null | awk '/^sha256/ { sub("k", "", $2); print $2 * 1000 }')
awk -v best="$best" -v small="$small" -v count="$count" -v bytes="$bytes" -v hashed="$hashed" -v cores="$(nproc)" 'BEGIN {
    split(best, run, " ")
    split(small, small_run, " ")
    # Each event is hashed as a leaf (1 byte more), a commitment (46 more) and a node of the tree (65).
    bound = hashed / (bytes / count + 1 + 46 + 65)
    printf "verified  %.2f M events/s, %.0f MB/s on %d processors\n", count / run[1] / 1e6, bytes / run[1] / 1e6, cores
    printf "processor %.2f M events/s\n", count / run[2] / 1e6
    printf "bound     %.2f M events/s\n", bound / 1e6
    printf "ratio     %.2f\n", count / run[2] / bound
    printf "memory    %d KiB for %d events, %d KiB for %d\n", run[3], count, small_run[3], count / 10
}'
