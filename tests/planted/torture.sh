#!/usr/bin/env bash
# Plants faults of the kinds that torture is there to find, one at a time, each in a copy of one source file that is linked in the place of the
# original, and sees the scenario fail for that reason. `make torture` shows that the same programs pass without them.
set -eu
cd "$(dirname "$0")/../.."
unset MAKEFLAGS MFLAGS # of the make that runs this
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
planted=0

run() {
    ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=abort_on_error=1 "$@"
}

# expect SCENARIO FILE SED FINDING: FILE, edited by SED, must make the scenario fail with FINDING in its output.
expect() {
    local scenario=$1 file=$2 edit=$3 finding=$4 copy
    copy=$work/$(basename "$file")
    sed -E "$edit" "$file" > "$copy"
    if cmp -s "$file" "$copy"; then
        echo "planted: nothing in $file matches $edit" >&2
        exit 1
    fi
    make --no-print-directory -s MODE=asan "PLANTED=$copy" "build/asan/torture-planted/$scenario"
    if (run "build/asan/torture-planted/$scenario" > "$work/output" 2>&1; exit $?) 2> /dev/null; then
        echo "planted in $file: $scenario passed in spite of $edit" >&2
        exit 1
    fi
    if ! grep -qF "$finding" "$work/output" || ! grep -qF 'run it alone' "$work/output"; then
        echo "planted in $file: $scenario failed, but not for that reason:" >&2
        cat "$work/output" >&2
        exit 1
    fi
    rm -rf "$work"/tallystick-test-*
    planted=$((planted + 1))
}

# A leak on the way out of an error: a log that cannot be recovered.
expect recovery src/log/log.c '/code = log_recover\(log/,/return code;/ s/log_close\(log\);//' 'allocations are left over'
# A success that is none: the write failed, and the append says that it did not.
expect append src/log/log.c 's/\? disk_write\(log->active, (.*), err\)/? ((void)!disk_write(log->active, \1, NULL), 0)/' 'not true'
# A crash: what was asked for is used without a look.
expect append src/log/log.c '/mem_alloc_zero\(1, sizeof\(\*log\)\)/,/return/ s/if \(log == NULL\)/if (folder == NULL)/' 'null pointer'
# A file that stays open behind an error: its memory shows first.
expect recovery src/log/segment.c '/ERR_CORRUPT, "segment %s says/,/return code/ s/disk_close\(file\);//' 'allocations are left over'
# A verifier that takes what it could not read for absent.
expect verify tools/verify/notes.c 's/else if \(code != ERR_NOT_FOUND\)/else if (code > 0)/' 'not that of the good run'
# A peer that is accused because memory ran out here.
expect append src/region/checkpoint.c 's/if \(code == ERR_CORRUPT\)/if (code != 0)/' 'does not verify'

echo "  PLANT  torture found each of $planted planted faults"
