#!/usr/bin/env bash
# Runs a command with an etcd of its own: TALLY_TEST_ETCD is its URL. It listens on loopback, and its data are in a temporary folder; both are gone at the
# end, however the command ends.
set -eu
folder=$(mktemp -d)
ports=$(/usr/bin/python3 -c 'import socket; s = [socket.create_server(("127.0.0.1", 0)) for _ in "ab"]; print(*(x.getsockname()[1] for x in s))')
url=http://127.0.0.1:${ports% *} peer=http://127.0.0.1:${ports#* }
etcd --data-dir "$folder/data" --listen-client-urls "$url" --advertise-client-urls "$url" --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
    --initial-cluster "default=$peer" --logger zap --log-level error --unsafe-no-fsync --heartbeat-interval 50 --election-timeout 500 > "$folder/log" 2>&1 &
server=$!
finish() {
    kill -9 "$server" 2> /dev/null || true
    wait "$server" 2> /dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
for _ in $(seq 600); do
    if /usr/bin/python3 -c "import urllib.request as u; u.urlopen('$url/health', timeout=5)" 2> /dev/null; then
        ready=yes
        break
    fi
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
done
[ -n "${ready:-}" ] || { cat "$folder/log" >&2; exit 1; }
TALLY_TEST_ETCD=$url "$@"
