"""The drills. Each is a function with a lab; its docstring is what happens, and the story that it prints is what it took."""
import time

from harness import wait_until


def region_loss(lab):
    """A region dies when the others have all it had; another takes over; it comes back. Nothing may be late."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    lab.drain_partitions(load, eu, (us, ap))
    lab.network.heal()
    eu.kill()
    died = time.monotonic()
    lab.say('eu is dead (kill -9)')
    load.paused.clear()
    lab.wait_missed(us, eu, died)
    lab.fail_over(us, eu, load, lost_at=died)
    lab.wait_load(load)
    lab.come_back(eu)
    lab.wait_load(load)
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


def planned_handover(lab):
    """All partitions of eu move to us under load, and back."""
    eu, us, ap = regions = lab.regions_up()
    load = lab.load(regions)
    lab.wait_load(load)
    partitions = lab.partitions('eu')
    for old, new in ((eu, us), (us, eu)):
        began = time.monotonic()
        moved = [argument for partition in partitions for argument in ('--partition', partition)]
        lab.operator('tally', 'handover', 'bank', '--to', new.name, *moved, '--reason', 'maintenance', '--server', old.address)
        for partition in partitions:
            wait_until(lambda: load.first_answer(new.name, {partition}, began), f'{new.name} to serve {partition}')
        lab.wait_load(load, 50)
        pauses = sorted(load.pauses(partitions, began, time.monotonic()).values())
        p99 = pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))]
        lab.say(f'{len(partitions)} partitions moved to {new.name}; longest pause of a client: median {pauses[len(pauses) // 2] * 1000:.0f} ms, '
                f'p99 {p99 * 1000:.0f} ms')
        lab.phases[f'pause p99 to {new.name}'] = p99
    verdict = lab.finish(regions)
    assert not verdict.late, verdict.late


planned_handover.partitions_each = 20
