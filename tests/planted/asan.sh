#!/usr/bin/env bash
# Plants a leak, a signed overflow and a write past the end, each in a unit test of its own, and sees the test program fail for that reason, with the
# flags and the environment that `make unit MODE=asan` uses. The same program without a fault must pass: else failing proves nothing.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

value_of() {
    make --no-print-directory -s MODE=asan --eval "planted-value: ; @printf '%s\n' '\$($1)'" planted-value
}
read -ra compiler <<< "$(value_of CC) $(value_of ALL_CFLAGS) $(value_of ALL_LDFLAGS)"
read -ra environment <<< "$(value_of SAN_ENV)"

# run NAME: builds the test body on standard input and runs it; its output goes to $work/NAME.out.
run() {
    { printf '#include <criterion/criterion.h>\n#include <stdlib.h>\nTest(planted, fault)\n{\n'; cat; printf '}\n'; } > "$work/$1.c"
    "${compiler[@]}" -o "$work/$1" "$work/$1.c" tests/support/leaks.c -lcriterion
    env "${environment[@]}" "$work/$1" > "$work/$1.out" 2>&1
}

# expect NAME FINDING: the body on standard input must make the program fail with FINDING in its output.
expect() {
    if run "$1"; then
        echo "planted $1: the test program passed" >&2
        exit 1
    fi
    if ! grep -qF "$2" "$work/$1.out"; then
        echo "planted $1: failed, but not for that reason:" >&2
        cat "$work/$1.out" >&2
        exit 1
    fi
}

if ! run sound <<< 'char *volatile memory = malloc(1); cr_assert_not_null(memory); free(memory);'; then
    echo 'a test without a fault fails:' >&2
    cat "$work/sound.out" >&2
    exit 1
fi
expect leak 'detected memory leaks' <<< 'char *volatile memory = malloc(1); cr_assert_not_null(memory); memory = NULL;'
expect overflow 'signed integer overflow' <<< 'volatile int large = 0x7fffffff; large = large + 1; cr_assert(large);'
expect past-the-end 'heap-buffer-overflow' <<< 'volatile char *volatile memory = malloc(1); memory[1] = 1; free((void *)(size_t)memory);'

echo '  PLANT  the sanitizers caught a leak, a signed overflow and a write past the end'
