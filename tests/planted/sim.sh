#!/usr/bin/env bash
# The simulator must find every planted bug (src/base/planted.h) within a bounded number of seeds. The same seeds without a bug must hold:
# else finding one proves nothing. tests/sim/planted has where to begin for bugs that few runs show; those that are rare take minutes each,
# and are looked for by `sim.sh rare` (make planted-rare), not here.
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory MODE=planted build/planted/bin/tally-sim
sim=build/planted/bin/tally-sim
jobs=$(nproc)
seeds=4000
wanted=${1:-usual}

# Of a bug: the seed to begin with, or "rare".
noted() { awk -v bug="$1" '$1 == bug { print $2 }' tests/sim/planted; }

"$sim" --seeds 30 --jobs "$jobs" > /dev/null || { echo 'seeds fail without a planted bug' >&2; exit 1; }
count=0
for bug in $("$sim" --planted list | cut -d' ' -f1); do
    first=$(noted "$bug")
    kind=usual
    if [ "$first" = rare ]; then kind=rare first=1; fi
    [ "$kind" = "$wanted" ] || continue
    if ! found=$("$sim" --planted "$bug" --first "${first:-1}" --seeds $seeds --jobs "$jobs" 2> /dev/null); then
        echo "planted $bug: the simulator did not see it in $seeds seeds from ${first:-1} on: $found" >&2
        exit 1
    fi
    count=$((count + 1))
done
[ "$wanted" = rare ] || [ "$count" -ge 50 ] || { echo "only $count planted bugs" >&2; exit 1; }

echo "  PLANT  the simulator found each of $count $wanted planted bugs"
