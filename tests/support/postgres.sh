#!/usr/bin/env bash
# Runs a command with a PostgreSQL server of its own: TALLY_TEST_POSTGRES is its URL. The server listens on a socket in a temporary folder only; both are
# gone at the end, however the command ends.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
folder=$(mktemp -d)
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
finish() {
    as "$bin/pg_ctl" -D "$folder/data" -m immediate stop > /dev/null 2>&1 || true
    rm -rf "$folder"
}
trap finish EXIT
if [ "$(id -u)" = 0 ]; then chown postgres "$folder"; fi
cd "$folder"
as "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale C.UTF-8 --locale-provider icu --icu-locale en -N > "$folder/initdb.out" 2>&1 || { cat "$folder/initdb.out" >&2; exit 1; }
as "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/server.log" -o "-c listen_addresses='' -k $folder -c fsync=off" start > "$folder/start.out" 2>&1 ||
    { cat "$folder/start.out" "$folder/server.log" >&2; exit 1; }
cd "$OLDPWD"
TALLY_TEST_POSTGRES="postgresql:///postgres?host=$folder&user=postgres" "$@"
