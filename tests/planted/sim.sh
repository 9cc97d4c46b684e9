#!/usr/bin/env bash
# The simulator must find every planted bug (src/base/planted.h) within a bounded number of seeds. The same seeds without a bug must hold:
# else finding one proves nothing.
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory MODE=planted build/planted/bin/tally-sim
sim=build/planted/bin/tally-sim
jobs=$(nproc)
seeds=8000

"$sim" --seeds 30 --jobs "$jobs" > /dev/null || { echo 'seeds fail without a planted bug' >&2; exit 1; }
count=0
for bug in $("$sim" --planted list | cut -d' ' -f1); do
    if ! found=$("$sim" --planted "$bug" --seeds $seeds --jobs "$jobs" 2> /dev/null); then
        echo "planted $bug: the simulator did not see it in $seeds seeds: $found" >&2
        exit 1
    fi
    count=$((count + 1))
done
[ "$count" -ge 50 ] || { echo "only $count planted bugs" >&2; exit 1; }

echo "  PLANT  the simulator found each of $count planted bugs"
