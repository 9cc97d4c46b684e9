#!/usr/bin/env bash
# The simulator's share of `make test`: seeds that failed once; the same seeds twice at -O2 and once at -O0, which must be the same runs; and
# new seeds for as long as SIM_MINUTES says.
set -eu
cd "$(dirname "$0")/../.."
release=build/bin/tally-sim
debug=build/debug/bin/tally-sim
minutes=${SIM_MINUTES:-2}
jobs=$(nproc)

while read -r seed bug; do
    case $seed in '' | '#'*) continue ;; esac
    "$release" --seed "$seed" > /dev/null || { echo "seed $seed failed again: $bug" >&2; exit 1; }
done < tests/sim/seeds

# One digest stands for everything that happened in these runs.
digest() { "$@" --seeds 60 --jobs "$jobs" --json | jq -r .digest; }
first=$(digest "$release")
again=$(digest "$release")
unoptimised=$(digest "$debug")
if [ "$first" != "$again" ] || [ "$first" != "$unoptimised" ]; then
    echo "the same seeds gave other runs: $first, then $again, and at -O0 $unoptimised" >&2
    exit 1
fi
echo "  SIM    60 seeds are the same runs, twice at -O2 and at -O0: $first"

# New seeds for each tree, so that a tree's verdict can be had again: what it is made of chooses them, or the date where git does not know. A failure
# prints the one that it was; `make sim FIRST=… MINUTES=…` tries others.
tree=$(git rev-parse --verify --quiet 'HEAD^{tree}' 2> /dev/null || date +%s%N)
"$release" --jobs "$jobs" --minutes "$minutes" --seeds "${SIM_SEEDS:-1000}" --first "$((16#$(printf '%s' "$tree" | sha256sum | cut -c1-12) * 10000))"
