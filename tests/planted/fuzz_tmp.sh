#!/usr/bin/env bash
# Plants a fault at a time in a copy of one source file, links it in the place of the original, and sees the replay of the corpus fail for that reason.
# `make fuzz-replay` shows that the same inputs pass without them.
set -eu
cd "$(dirname "$0")/../.."
unset MAKEFLAGS MFLAGS # of the make that runs this
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
planted=0
make --no-print-directory -s MODE=asan build/corpus/made

run() {
    ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=abort_on_error=1 "$@"
}

# expect TARGET FILE SED FINDING: FILE, edited by SED, must make the replay of TARGET's corpus fail with FINDING in its output.
expect() {
    local target=$1 file=$2 edit=$3 finding=$4 copy folders=() folder
    copy=$work/$(basename "$file")
    sed -E "$edit" "$file" > "$copy"
    if cmp -s "$file" "$copy"; then
        echo "planted: nothing in $file matches $edit" >&2
        exit 1
    fi
    make --no-print-directory -s MODE=asan "PLANTED=$copy" "build/asan/fuzz-planted/$target"
    for folder in "tests/fuzz/corpus/$target" "build/corpus/$target"; do
        [ ! -d "$folder" ] || folders+=("$folder")
    done
    if (run "build/asan/fuzz-planted/$target" "${folders[@]}" > "$work/output" 2>&1; exit $?) 2> /dev/null; then
        echo "planted in $file: $target passed in spite of $edit" >&2
        exit 1
    fi
    if ! grep -qF "$finding" "$work/output"; then
        echo "planted in $file: $target failed, but not for that reason:" >&2
        tail -20 "$work/output" >&2
        exit 1
    fi
    planted=$((planted + 1))
}

# Two survivors seize for one loss: a claim is given away though its owner has seized a part.
expect takeover src/region/takeover.c 's/withdraw = !takeover->may_have_seized/withdraw = true/' 'not true'
# A seizure may be decided long after the service was asked.
expect takeover src/region/takeover.c 's/takeover->verified_us \+ TAKEOVER_DECIDE_US/now_us + TAKEOVER_DECIDE_US/' 'not true'
# A key that is held by no lease counts as that of a region that is alive no more.
expect etcd src/outside/etcd_json.c 's/ \|\| \(alive \&\& lease == 0\)//' 'not true'

echo "  PLANT  replaying the corpora found each of $planted planted faults"
