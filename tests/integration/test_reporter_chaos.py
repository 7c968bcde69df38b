"""Faults and churn at random, then quiet: the backend holds what lives, and no rule was broken."""

from __future__ import annotations

import itertools
import time
from random import Random

import pytest
from reporter_rig import announced, report, reporting, withdrawn

from rover.backend import BackendOptions, EmbeddedBackend, Rule
from rover.config.settings import DiscoverySettings
from rover.reporter.state import Phase

SECONDS = 8
BEAT = 0.5
CODES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNKNOWN", "INTERNAL", "PERMISSION_DENIED")


def strike(backend, random):
    """Put one fault in force, of those that leave the backend's word on an entity true."""
    faults = backend.faults
    kinds = (
        faults.refuse,
        faults.black_hole,
        lambda: faults.reset(connections=random.randrange(3)),
        lambda: faults.delay(random.uniform(0, 0.8)),
        lambda: faults.error(random.choice(CODES), rate=random.uniform(0.1, 1)),
        lambda: faults.error("UNAVAILABLE", stored=True, rate=random.uniform(0.1, 1)),
        lambda: faults.fewer(random.randint(1, 5), count=random.randint(1, 3)),
        lambda: faults.drop_ids(count=random.randint(1, 3)),
        faults.reorder,
        lambda: faults.limit_message_size(random.randint(600, 5000)),
        lambda: backend.restart(keep_memory=random.random() < 0.5),
    )
    random.choice(kinds)()


def churn(reporter, random, living, pids):
    """Let some processes start, some end, and some entities change their leader."""
    for _ in range(random.randrange(8)):
        number = random.randrange(60)
        if number in living and random.random() < 0.5:
            reporter.publish(withdrawn(living.pop(number)))
        else:
            living[number] = report(number, pid=next(pids))
            reporter.publish(announced(living[number]))


@pytest.mark.parametrize("seed", [1, 2])
def test_after_random_faults_the_backend_holds_what_lives_within_a_beat(seed):
    random = Random(seed)
    living = {}
    pids = itertools.count(10_000)
    pacing = DiscoverySettings(heartbeat_period=BEAT, properties_report_period=10)
    with (
        EmbeddedBackend(BackendOptions(seed=seed)) as backend,
        reporting(backend.address, pacing, timeout=0.4) as reporter,
    ):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if random.random() < 0.3:
                backend.faults.clear()
            elif random.random() < 0.3:
                strike(backend, random)
            churn(reporter, random, living, pids)
            time.sleep(random.uniform(0, 0.15))
        backend.faults.clear()
        quiet = time.monotonic()
        alive = {one.process.pid for one in living.values()}
        backend.state.wait_for(
            lambda held: (
                alive
                == {
                    row.pid
                    for row in held.processes
                    if row.visible and row.last_ping and row.last_ping.monotonic > quiet
                }
            )
        )
        settled = time.monotonic() - quiet
        while reporter.session.phase is not Phase.BEATING or reporter.session.waiting:
            assert time.monotonic() < quiet + 10
            time.sleep(0.01)
        assert settled < 4 * BEAT
        assert reporter.session.entities == len(living)
        assert not reporter.session.refused
        # a call that ran into its deadline may still take effect, after newer ones
        late = {Rule.ENTITY_OF_TWO_PIDS}
        assert not [str(broken) for broken in backend.violations if broken.rule not in late]
