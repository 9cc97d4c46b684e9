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

# A crash: a configuration of comments alone is taken.
expect config src/server/config.c 's/else if \(data == NULL\)/else if (path == NULL)/' 'null pointer'
# Not canonical: something is left of a control event's payload.
expect control src/domain/fields.c 's/return !fields->failed \&\& fields->rest.size_bytes == 0/return !fields->failed/' 'not true'
# Not canonical: a frame may have a field twice, and encodes to something else.
expect frame src/entry/frame.c 's/field <= last/field < last/' 'not true'
# Not canonical: a name is cut at a NUL.
expect position src/domain/position.c 's/strlen\(region\) != region_size/strlen(region) > region_size/' 'not true'
# A leak, of a spec that is refused.
expect projection src/projection/spec.c 's/projection_spec_free\(spec\);//' 'detected memory leaks'
# A torn tail that stays in the file, to be taken for something by the next recovery.
expect segment src/log/recovery.c 's/int code = disk_truncate\(file, offset, err\);/int code = offset == 0 ? ERR_IO : 0;/' 'not true'
# Anybody's signature does for a region's.
expect introduction src/crypto/introduction.c 's/keyring_verify\(note, keys, NULL, NULL\) > 0/keys != NULL/' 'not true'
# Two survivors seize for one loss: a claim is given away though its owner has seized a part.
expect takeover src/region/takeover.c 's/withdraw = !takeover->may_have_seized/withdraw = true/' 'not true'
# A seizure may be decided long after the service was asked.
expect takeover src/region/takeover.c 's/takeover->verified_us \+ TAKEOVER_DECIDE_US/now_us + TAKEOVER_DECIDE_US/' 'not true'
# A key that is held by no lease counts as that of a region that is alive no more.
expect etcd src/outside/etcd_json.c 's/ \|\| \(alive \&\& lease == 0\)//' 'not true'

echo "  PLANT  replaying the corpora found each of $planted planted faults"
