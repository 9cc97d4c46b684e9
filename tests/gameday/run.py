"""Runs the drills: run.py [NAME…], all of them when none is named; run.py --short those of `make test`. As root, because it makes network namespaces.

The checker is tested first. Every drill ends with `drill NAME: ok` or FAILED and what the regions said; the last line is `gameday: ok`.
"""
import inspect
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import lab as gameday  # noqa: E402
import drills  # noqa: E402
import test_verdict  # noqa: E402
from network import Loopback, Network, NotPermitted  # noqa: E402

DRILL_SECONDS_MAX = 240
SHORT = ('region_loss', 'planned_handover')


def all_drills():
    return {name: drill for name, drill in vars(drills).items() if inspect.isfunction(drill) and drill.__module__ == 'drills' and not name.startswith('_')
            and list(inspect.signature(drill).parameters) == ['lab']}


def make_network(wanted):
    """Namespaces; on loopback only drills that need no broken links, and it says so."""
    places = (*gameday.REGIONS, gameday.CLIENTS)
    try:
        network = Network(*places)
        print('each region and the clients in a network namespace; TUN interfaces, and a wire between them that can fail')
        return network
    except NotPermitted as error:
        if not set(wanted) <= set(SHORT):
            sys.exit(f'gameday: not permitted here: {error}. Run it as root on a kernel with network namespaces and /dev/net/tun, or on loopback: {", ".join(SHORT)}')
        print(f'on loopback addresses, for what is not permitted here: {error}')
        return Loopback(*places)


def run_drill(name, drill, network):
    print(f'drill {name}: {inspect.getdoc(drill).splitlines()[0]}')
    lab = gameday.GamedayLab(network, getattr(drill, 'partitions_each', 4))
    signal.alarm(DRILL_SECONDS_MAX)
    try:
        network.heal()
        drill(lab)
        print(f'drill {name}: ok', flush=True)
        return True
    except Exception:  # a failure is told, and the next drill runs
        signal.alarm(0)
        print(f'{traceback.format_exc()}{lab.outputs()}\ndrill {name}: FAILED', flush=True)
        return False
    finally:
        signal.alarm(0)
        lab.close()


def on_alarm(*_):
    raise AssertionError(f'the drill took more than {DRILL_SECONDS_MAX} s')


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    known = all_drills()
    wanted = list(SHORT) if sys.argv[1:] == ['--short'] else [name.replace('-', '_') for name in sys.argv[1:]] or list(known)
    for name in wanted:
        if name not in known:
            sys.exit(f'there is no drill {name}; there are: {", ".join(known)}')
    test_verdict.run_all()
    network = make_network(wanted)
    begin = time.monotonic()
    try:
        failed = [name for name in wanted if not run_drill(name, known[name], network)]
    finally:
        network.close()
    print(f'{len(wanted)} drills in {time.monotonic() - begin:.0f} s')
    print(f'gameday: FAILED: {", ".join(failed)}' if failed else 'gameday: ok')
    sys.exit(1 if failed else 0)


main()
