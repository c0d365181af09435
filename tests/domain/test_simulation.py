"""What the rules come to on invented days: a change of theirs that spoils one of these figures is seen here.

`python -m benchmarks.scheduling` has the same on more and larger days.
"""

from __future__ import annotations

from statistics import fmean

from app.domain.virtual_cluster import Pace
from benchmarks.scheduling.baselines import fifo, fifo_easy, one_at_a_time, static_groups
from benchmarks.scheduling.estimates import Estimates
from benchmarks.scheduling.simulator import Simulation, jain
from benchmarks.scheduling.traces import Mix, drawn

NARROW = (1, 1, 1, 1, 2, 2, 4)


def test_a_batch_ends_soon_after_it_could_at_the_soonest() -> None:
    trace = drawn("batch", Mix(8, 30, widths=NARROW, seconds=300), 0)
    took = Simulation(trace).run().cluster.time
    assert took <= 1.1 * trace.area / trace.gpus
    assert all(
        took <= max(policy(trace).values()) for policy in (fifo, fifo_easy, static_groups, one_at_a_time)
    )


def test_jobs_end_sooner_in_the_mean_than_in_a_queue() -> None:
    trace = drawn("day", Mix(8, 50, load=0.85, widths=NARROW), 1)
    simulation = Simulation(trace).run()
    assert all(job.ended is not None for job in simulation.jobs)
    for policy in (fifo, fifo_easy, one_at_a_time):
        ends = policy(trace)
        assert simulation.flow() <= fmean(
            ends[number] - each.after for number, each in enumerate(trace.arrivals)
        )


def test_owners_have_equal_shares_though_one_floods() -> None:
    trace = drawn("busy", Mix(8, 100, owners=4, widths=(1, 1, 2), seconds=1200, flood=0.5), 1)
    used = Simulation(trace, Pace(look=10.0)).run(3600.0).used()
    assert len(used) == 4
    assert jain(list(used.values())) >= 0.95


def test_few_devices_are_free_while_somebody_waits() -> None:
    simulation = Simulation(drawn("wide", Mix(16, 60), 1)).run()
    assert simulation.unused() <= 0.05


def test_most_jobs_begin_about_when_they_are_told() -> None:
    simulation = Simulation(drawn("told", Mix(8, 40, load=0.85, widths=NARROW), 2))
    asked = Estimates(simulation, 20)
    simulation.run()
    told = asked.told(came=True)
    assert len(told) >= 20
    assert sum(each.factor <= 1.5 for each in told) >= 0.75 * len(told)
