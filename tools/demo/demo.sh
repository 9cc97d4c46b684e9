#!/usr/bin/env bash
# The main job on real data, told in a terminal: `make demo`. Every step checks what it claims; the first that does not hold ends the demo with
# its servers' last words and exit 1. Takes about a minute, keeps nothing: data, logs and processes go with the temporary folder.
#
# The import is paced, so that there is a half-way at which to kill things; nothing else waits for a fixed time.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
here=tools/demo
bin=$PWD/build/bin
csv=tests/data/berka-transactions.csv.gz
rows=49102
work=$(mktemp -d)
declare -A pid=() address=()
importer=

# --- Telling ---------------------------------------------------------------------------------------------------------
started=$EPOCHREALTIME
say() {
    awk -v from="$started" -v now="$EPOCHREALTIME" -v text="$*" 'BEGIN { printf "%6.1f s  %s\n", now - from, text }'
}

step() {
    printf '\n%s\n' "$*"
}

fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    tail -n 5 "$work"/*.out "$work"/*.err >&2 2>/dev/null || true
    exit 1
}

clean_up() {
    for region in "${!pid[@]}"; do
        kill -9 "${pid[$region]}" 2>/dev/null || true
    done
    [ -z "$importer" ] || kill -9 "$importer" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- Regions ---------------------------------------------------------------------------------------------------------
free_ports() {
    /usr/bin/python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'
}

start() {
    local region=$1
    "$bin/tallyd" --data "$work/$region" >> "$work/$region.out" 2>> "$work/$region.err" &
    pid[$region]=$!
    for _ in $(seq 300); do
        if [ "$(grep -c ready "$work/$region.out" || true)" -gt "${starts[$region]:-0}" ]; then
            starts[$region]=$((${starts[$region]:-0} + 1))
            return
        fi
        kill -0 "${pid[$region]}" 2>/dev/null || fail "tallyd of $region did not start"
        sleep 0.1
    done
    fail "tallyd of $region was not ready within 30 s"
}
declare -A starts=()

# The signal is KILL or TERM; for TERM the exit must be clean.
stop() {
    local region=$1 signal=$2 code=0
    kill "-$signal" "${pid[$region]}"
    wait "${pid[$region]}" 2>/dev/null || code=$?
    unset "pid[$region]"
    [ "$signal" = KILL ] || [ "$code" = 0 ] || fail "tallyd of $region stopped with exit $code"
}

status() {
    timeout 10 "$bin/tally" status --server "${address[$1]}" --json 2>> "$work/status.err"
}

# Durable entries of one log as a region holds it; 0 when the region does not answer.
held() {
    local at=$1 log=$2
    status "$at" | jq -r --arg origin "bank/$log/1" '[.logs[] | select(.origin == $origin) | .indexed_size | tonumber] | add // 0' || echo 0
}

imported() {
    echo $(($(held eu eu) + $(held us us)))
}

# wait_until SECONDS WHAT CONDITION…
wait_until() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "waited $seconds s for: $what"
        [ -z "$importer" ] || kill -0 "$importer" 2>/dev/null || fail "the importer ended early: $(cat "$work/import.err")"
        sleep 0.05
    done
}

imported_at_least() {
    [ "$(imported)" -ge "$1" ]
}

holds() {
    [ "$(held "$1" "$2")" = "$3" ]
}

# --- Import ----------------------------------------------------------------------------------------------------------
# About 10,000 events a second, as text arrives from a slow source.
start_import() {
    "$bin/tally" import - --server "${address[eu]}" < <(split --lines=500 --filter='cat; sleep 0.05' "$work/events.ndjson" 2>/dev/null) \
        > "$work/import.out" 2> "$work/import.err" &
    importer=$!
}

summary() {
    grep -h imported "$work/import.out" "$work/import.err" | tail -n 1
}

# ---------------------------------------------------------------------------------------------------------------------
step '1. Two regions, eu and us, each with its own data directory and keys'
read -r eu_port us_port < <(free_ports)
address[eu]=127.0.0.1:$eu_port
address[us]=127.0.0.1:$us_port
for region in eu us; do
    peer=$([ $region = eu ] && echo us || echo eu)
    "$bin/tally" init "$work/$region" --cluster bank --region $region --listen "${address[$region]}" --peer "$peer=${address[$peer]}" \
        --context bank=eu --home bank/us=us > "$work/init-$region.out"
done
cp "$work/eu/keys/region.pub" "$work/us/keys/peer-eu.pub"
cp "$work/us/keys/region.pub" "$work/eu/keys/peer-us.pub"
start eu
start us
say "eu serves at ${address[eu]}, process ${pid[eu]}; us at ${address[us]}, process ${pid[us]}"

step "2. $rows real bank transactions become events"
zcat "$csv" | awk -f $here/berka.awk > "$work/events.ndjson"
[ "$(wc -l < "$work/events.ndjson")" = $rows ] || fail "the CSV did not give $rows events"
home_us=$(grep -c '"partition":"us"' "$work/events.ndjson")
home_eu=$((rows - home_us))
say "one stream per account; $home_eu events have their home in eu, $home_us (accounts with an odd number) in us"
start_import

step '3. The importer is killed half-way and started again'
wait_until 60 'half of the import' imported_at_least $((rows / 2))
kill -9 "$importer"
{ wait "$importer" || true; } 2>/dev/null
importer=
before=$(imported)
[ "$before" -lt $rows ] || fail 'the import was over before it could be killed'
say "killed the importer with $before of $rows events appended; starting it again from the first line"
start_import

step '4. us is killed with SIGKILL during the import, and restarted'
wait_until 60 'a good part of the rest' imported_at_least $(((before + rows) / 2))
stop us KILL
say "killed us; eu goes on, the importer waits for us"
sleep 1
kill -0 "$importer" 2>/dev/null || fail "the importer gave up while us was down: $(cat "$work/import.err")"
start us
say "us is back, process ${pid[us]}"
code=0
wait "$importer" || code=$?
importer=
[ "$code" = 0 ] || fail "the importer ended with exit $code: $(cat "$work/import.err")"
say "$(summary)"
for region in eu us; do
    wait_until 60 "$region to hold both logs" holds $region eu $home_eu
    wait_until 60 "$region to hold both logs" holds $region us $home_us
    say "$region holds bank/eu/1 with $home_eu entries and bank/us/1 with $home_us: no event twice, none missing"
done

step '5. A balances projection in each region, thrown away and rebuilt by replay'
position=$(status eu | jq -r .position)
digest() {
    "$bin/tally" projection digest balances --server "${address[$1]}" --wait "$position" --timeout-ms 60000 --json | jq -r .digest
}
for region in eu us; do
    "$bin/tally" projection create $here/balances.sql --server "${address[$region]}" > /dev/null
done
digest_eu=$(digest eu)
digest_us=$(digest us)
[ -n "$digest_eu" ] && [ "$digest_eu" = "$digest_us" ] || fail "the digests differ: eu $digest_eu, us $digest_us"
say "at position $position the digest in both regions is ${digest_eu:0:16}…"

rebuilt() {
    [ "$("$bin/tally" projection status balances --server "${address[$1]}" --json | jq -r '"\(.generation) \(.state)"')" = '2 live' ]
}
for region in eu us; do
    "$bin/tally" projection rebuild balances --server "${address[$region]}" > /dev/null
    wait_until 60 "the rebuild in $region" rebuilt $region
    [ "$(digest $region)" = "$digest_eu" ] || fail "after the rebuild in $region the digest is another"
    say "$region rebuilt it as generation 2: the same digest"
done

zcat "$csv" | tr -d '"\r' | awk -F';' '
    NR > 1 { amount = $6; sub(/\./, "", amount); sum["account-" $2] += $4 == "PRIJEM" ? amount : -amount; count["account-" $2]++ }
    END { for (account in sum) printf "%s|%.0f|%d\n", account, sum[account], count[account] }' | sort > "$work/expected"
for region in eu us; do
    file=$("$bin/tally" projection status balances --server "${address[$region]}" --json | jq -r .file)
    sqlite3 -readonly "$file" 'SELECT account, balance_minor, transactions FROM balances' | sort > "$work/balances-$region"
    cmp "$work/expected" "$work/balances-$region" || fail "balances in $region are not the sums over the CSV"
done
say "all $(wc -l < "$work/expected") balances equal an independent sum over the CSV (awk), to the haléř, in both regions"

step '6. Both copies of both logs are verified with the public keys alone'
stop eu TERM
stop us TERM
for log in eu us; do
    for copy in eu us; do
        "$bin/tally-verify" log "$work/$copy/logs/$log-1" --key "$work/$log/keys/region.pub" > "$work/verify.out" 2>&1 ||
            fail "tally-verify refuses $copy's copy of the log of $log: $(cat "$work/verify.out")"
        say "$copy's copy of $log: $(tail -n 1 "$work/verify.out")"
    done
    "$bin/tally-verify" compare "$work/eu/logs/$log-1" "$work/us/logs/$log-1" > "$work/verify.out" 2>&1 ||
        fail "the copies of the log of $log differ: $(cat "$work/verify.out")"
    say "compared: $(tail -n 1 "$work/verify.out")"
done

# A forger makes one deposit larger: one digit, in a copy of the files.
cp -r "$work/us/logs/eu-1" "$work/forged"
segment=$(grep -la '"trans_id":171812,' "$work/forged"/* | head -n 1)
offset=$(grep -abo '"trans_id":171812,"account":576,"date":"1993-01-01","amount":"' "$segment" | head -n 1)
offset=$((${offset%%:*} + $(printf %s "${offset#*:}" | wc -c)))
printf 9 | dd of="$segment" bs=1 seek=$((offset + 1)) conv=notrunc status=none
code=0
"$bin/tally-verify" log "$work/forged" --key "$work/eu/keys/region.pub" > "$work/verify.out" 2>&1 || code=$?
[ "$code" = 1 ] || fail "one byte was changed, and tally-verify ended with exit $code: $(cat "$work/verify.out")"
grep -q 'index [0-9]' "$work/verify.out" || fail "tally-verify names no index: $(cat "$work/verify.out")"
say "one digit of one deposit changed (900.00 to 990.00), exit 1: $(grep 'index [0-9]' "$work/verify.out" | head -n 1)"

printf '\n'
say 'every step held'
echo 'demo: ok'
