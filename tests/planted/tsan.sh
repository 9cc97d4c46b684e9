#!/usr/bin/env bash
# Takes one lock out of a copy of the mailbox and sees ThreadSanitizer fail the thread test, which passes with the lock in place.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r include src tests "$work"
cd "$work"
export TSAN_OPTIONS=halt_on_error=1

build() {
    gcc -std=c17 -D_GNU_SOURCE -g -O1 -pthread -fsanitize=thread -Iinclude -Isrc -Itests -o mailbox tests/threads/mailbox.c src/base/*.c src/platform/*.c
}

build
./mailbox > /dev/null
sed -i '0,/pthread_mutex_lock(&mailbox->mutex);/s///; 0,/pthread_mutex_unlock(&mailbox->mutex);/s///' src/platform/mailbox.c
build
if ./mailbox > output 2>&1; then
    echo 'tsan.sh: a mailbox without its lock passed under ThreadSanitizer' >&2
    exit 1
fi
grep -q 'data race' output
echo '  PLANT  ThreadSanitizer saw the race in a mailbox without its lock'
