"""Runs the integration tests: run.py [PART OF A NAME…]. One line a test; a failure shows the traceback and what the servers said.

A test is a function test_… in a file test_*.py beside this one. Its parameter says what it gets: `lab` is a Lab of its own, `solo` the client of one region
that all such tests share (they keep to streams of their own). A docstring is not needed: the name says what must hold.
"""
import importlib
import inspect
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from harness import Lab  # noqa: E402

TEST_SECONDS_MAX = 90


class TookTooLong(Exception):
    pass


def on_alarm(*_):
    raise TookTooLong(f'the test took more than {TEST_SECONDS_MAX} s')


class Runner:
    def __init__(self):
        self.shared_lab = None
        self.shared_region = None
        self.passed = 0
        self.failed = []

    def shared(self):
        if self.shared_region is None or self.shared_region.process.poll() is not None:
            if self.shared_lab:
                self.shared_lab.close()
            self.shared_lab = Lab()
            self.shared_region = self.shared_lab.solo()
        return self.shared_region

    def call(self, test, lab):
        if 'solo' in inspect.signature(test).parameters:
            region = self.shared()
            test(region.client())
            if region.process.poll() is not None:
                raise AssertionError(f'the server died with exit {region.process.returncode}')
        elif 'lab' in inspect.signature(test).parameters:
            test(lab)
        else:
            test()

    def run(self, name, test):
        lab = Lab()
        begin = time.monotonic()
        signal.alarm(TEST_SECONDS_MAX)
        try:
            self.call(test, lab)
            self.passed += 1
            print(f'  ok     {time.monotonic() - begin:5.2f} s  {name}', flush=True)
        except Exception:  # a failure is recorded, and the next test runs
            signal.alarm(0)
            self.failed.append(name)
            print(f'  FAILED {time.monotonic() - begin:5.2f} s  {name}\n{traceback.format_exc()}', flush=True)
            print(lab.outputs() or (self.shared_lab.outputs() if self.shared_lab else ''), flush=True)
        finally:
            signal.alarm(0)
            lab.close()

    def close(self):
        if self.shared_lab:
            self.shared_lab.close()


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runner = Runner()
    try:
        for file in sorted(HERE.glob('test_*.py')):
            module = importlib.import_module(file.stem)
            for key, test in list(vars(module).items()):
                name = f'{file.stem[5:]}: {key[5:].replace("_", " ")}'
                if key.startswith('test_') and (len(sys.argv) < 2 or any(part in name or part in key for part in sys.argv[1:])):
                    runner.run(name, test)
    finally:
        runner.close()
    for name in runner.failed:
        print(f'failed: {name}')
    print(f'{runner.passed} passed, {len(runner.failed)} failed')
    sys.exit(1 if runner.failed or runner.passed == 0 else 0)


main()
