"""The planted bugs (libjobq/base/planted.hpp): what each does, and the test that must find it.

A finder is one command on one test, small enough for seconds. `sees` is what a run with the bug must say: the test's name or
the violated invariant, so that a test which goes red for another reason is not taken for one with teeth.

Finders that draw nothing give the same answer whatever is changed elsewhere: those run in CI, some at a time. The others run in
the soak (`soak_only`): those with real processes and disks, and the seeds of the simulator that may tell another story after a
change of the engine.
"""

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Finder:
    name: str  # for people: the test, as they would look for it
    program: str  # below the build's tests/
    arguments: tuple
    sees: str  # a regular expression
    soak_only: bool = False


@dataclass(frozen=True)
class Planted:
    name: str
    does: str
    finder: Finder


def case(program, title):
    """One case of a doctest program."""
    escaped = title.replace(",", "\\,")
    return Finder(f"`{os.path.basename(program)}`: {title}", program, (f"--test-case={escaped}",), f"TEST CASE: +{re.escape(title)}")


def transcript(name):
    """One transcript of the engine."""
    return Finder(f"transcript `{name}`", "engine/engine_test", ("--test-case=transcripts", f"--subcase=*/{name}.txt"),
                  f"transcripts/{name}.txt")


def simulation(seeds, operations, sees, any_seed=False):
    """The simulator. It stops at the first run that fails, so that red is quick. `sees`: an invariant (I1 to I22), or what
    the product's own checks say when they end the run."""
    first, last = seeds
    span = f"seed {first}" if first == last else f"seeds {first} to {last}"
    invariant = sees.startswith("I") and sees[1:].isdigit()
    found = rf"FAILED: seed \d+ of {operations} operations: .*\b{sees}\b" if invariant else "broken invariant: " + re.escape(sees)
    return Finder(f"simulator, {span}: {sees if invariant else 'the run ends at a check'}", "sim/jobq-sim",
                  ("--from", first, "--seeds", last - first + 1, "--ops", operations, "--stop-after", 1, "--quiet"), found, soak_only=not any_seed)


def case_for_the_soak(program, title):
    """One with disks, sockets or threads."""
    finder = case(program, title)
    return Finder(finder.name, finder.program, finder.arguments, finder.sees, soak_only=True)


def power_cut(title):
    return case_for_the_soak("faults/power_cut_test", title)


SERVER, PRODUCER, WORKER = "server/server_test", "client/client_producer_core_test", "client/client_worker_core_test"
CONTRACT, LIMITS, RANDOM = "store/lmdb_contract_test", "store/lmdb_limits_test", "store/lmdb_random_test"

PLANTED = (
    # ---- the broker's loop
    Planted("reply_before_commit", "answers and deliveries leave before the commit", simulation((1, 8), 200, "I15", any_seed=True)),
    Planted("failed_commit_ignored", "a commit that failed counts as one that was made", simulation((1, 40), 200, "I15")),
    Planted("commit_in_two_steps", "one turn is made durable in two transactions", simulation((1, 8), 200, "said.*field == counted.*field")),
    Planted("failed_send_is_delivered", "EAGAIN is taken for delivered", case(
        SERVER, "a delivery that cannot be sent goes to the next worker, uncounted")),
    Planted("full_disk_unnoticed", "enqueues are accepted until the disk is full", case(
        SERVER, "while the disk is nearly full, enqueues are refused and acks are not, until there is room again")),
    Planted("large_job_overtaken", "what else goes to a worker overtakes the large job that is copied for it", case(
        SERVER, "what else goes to the worker stays behind the large job that waits for it")),
    Planted("leases_by_the_wall_clock", "a jump of the wall clock ends leases and fires delays", case(
        SERVER, "a jump of the wall clock is told once and moves nothing")),
    Planted("session_number_not_stored", "a session's number is given out again after a restart", case(
        SERVER, "a session is on disk before its worker hears of it")),
    # ---- the network
    Planted("routing_id_handed_over", "who comes under the name of another takes over his connection", case_for_the_soak(
        "server/transport_test", "who comes under the name of another takes nothing from him")),
    # ---- the engine
    Planted("lease_no_ignored", "an ack is accepted whatever its lease_no", transcript("restart")),
    Planted("lease_no_at_least", "an ack is accepted under any earlier lease_no too", transcript("restart")),
    Planted("session_ignored", "an ack is accepted from any session", transcript("worker_crashes")),
    Planted("drain_forgotten", "a drained worker whose session ends before it is back gets jobs again", transcript("drain_worker")),
    Planted("session_without_secret", "a session is taken over by whoever names its number", transcript("worker_crashes")),
    Planted("lease_no_reused", "a job that was given back gets its old lease_no again", transcript("snooze_and_release")),
    Planted("leased_not_counted_down", "a lease that ended is still counted", transcript("lease_lapses")),
    Planted("bytes_of_the_dead_counted", "a dead job's bytes are still counted", simulation((4, 4), 200, "I12")),
    Planted("window_limits_turn", "how many timers are kept in memory limits how many fire in a turn", case(
        "engine/engine_test", "how many timers are kept in memory is no limit to how many fire in a turn")),
    Planted("attempts_not_counted", "failures are not counted, so a job is retried for ever", transcript("nack_backs_off")),
    Planted("history_overwritten", "each attempt's error overwrites the one before", transcript("reject_and_redrive")),
    Planted("backoff_in_32_bits", "a long backoff overflows and becomes a short one", case(
        "engine/engine_test", "a backoff may grow to a year")),
    Planted("delay_from_the_wall_clock", "a delay is counted from the wall clock", transcript("delayed_and_dated")),
    Planted("expiry_in_seconds", "an expiry's milliseconds are read as seconds", transcript("expiry")),
    Planted("rate_ignored", "a redrive goes faster than was asked for", simulation((7, 11), 400, "I10")),
    Planted("task_forgotten", "a redrive or a purge ends with the broker's process", simulation((7, 8), 400, "I18")),
    Planted("half_a_group", "a group that is refused is stored in part", simulation((1, 20), 200, "I14")),
    Planted("key_of_the_dead_given_away", "a dead job's unique key is given to another", simulation((5, 12), 200, "free")),
    Planted("resend_enqueues_again", "a repeated enqueue makes a second job", transcript("resend")),
    Planted("cancel_forgotten", "a cancelled job that fails is tried again", transcript("cancel")),
    Planted("leased_cancelled_at_once", "a cancel takes a running job away from its worker", transcript("cancel")),
    Planted("pause_ignored", "a paused queue hands out jobs", simulation((28, 30), 200, "I17")),
    Planted("lowest_priority_first", "the lowest priority goes first", transcript("order")),
    Planted("no_grace_after_a_restart", "a restart takes running jobs from their workers at once", transcript("restart")),
    Planted("sleeps_through_lapses", "the end of a lease does not wake the broker", transcript("lease_lapses")),
    Planted("sleeps_through_timers", "a delay's end does not wake the broker", transcript("delayed_and_dated")),
    Planted("jump_fires_twice", "after a jump of the clock what was due is fired twice", case(
        SERVER, "whatever the wall clock jumps by, leases, delays and expiries go on as they were, and dates follow it")),
    Planted("empty_queue_not_woken", "the first job of an empty queue wakes nobody", transcript("a_job_runs")),
    # ---- the store
    Planted("commits_not_synced", "LMDB with MDB_NOSYNC", power_cut(
        "whatever a power cut leaves on the disk, every confirmed batch is there and nothing is torn")),
    Planted("meta_page_not_synced", "LMDB with MDB_NOMETASYNC", power_cut(
        "whatever a power cut leaves on the disk, every confirmed batch is there and nothing is torn")),
    Planted("store_made_in_place", "a store is made under its own name, not made aside and renamed", power_cut(
        "whatever a power cut leaves on the disk, every confirmed batch is there and nothing is torn")),
    Planted("death_in_two_transactions", "a job's death is made durable in two transactions", power_cut(
        "whatever a power cut leaves on the disk, every confirmed batch is there and nothing is torn")),
    Planted("meta_error_ignored", "only an error of a commit's last page is ignored", case_for_the_soak(
        "faults/disk_faults_test",
        "whichever last page of a commit fails, nothing is confirmed that is not there, and the next start is sound")),
    Planted("map_grown_under_a_reader", "the map is made larger while a backup reads", case_for_the_soak(
        LIMITS, "a backup is what the store was when it began, whatever is committed meanwhile")),
    Planted("commit_error_ignored", "an error of the commit (short write, failed sync) is ignored", case(
        LIMITS, "a commit that the disk refuses is said to have failed, and the store stands where it stood")),
    Planted("checksum_ignored", "checksums of records are not looked at", case(
        LIMITS, "a damaged job does not hide the others, is counted, and can be put among the dead")),
    Planted("readers_leak", "read transactions are never ended", simulation((4, 4), 200, "I19")),
    Planted("two_brokers_on_one_store", "the lock of the directory does not count", case(
        "store/lmdb_open_test", "a second opener is told who has the store")),
    Planted("attempts_lost_at_a_restart", "a running job's counts are forgotten by a restart", case(
        CONTRACT, "contract: enqueue, lease, return and lease again in one batch")),
    Planted("answers_lost_at_a_restart", "what was answered is forgotten by a restart, so a resend makes a second job",
            simulation((75, 76), 200, "I13")),
    Planted("key_kept_for_ever", "a unique key is not free again after its job's end", simulation((4, 4), 200, "I12")),
    Planted("key_lost_at_redrive", "a redriven job has lost its unique key", case(
        CONTRACT, "contract: whatever legal batches come, it stays the same as the plain store")),
    Planted("range_little_endian", "a number of the lane index is written little-endian", case(
        CONTRACT, "contract: fifty thousand jobs, acked in any order, across every boundary")),
    Planted("returned_job_not_listed", "a job that is given back is not listed in its lane", case(
        CONTRACT, "contract: a job that was leased while thousands came is listed when it is back")),
    Planted("sweep_takes_the_living", "the sweep of finished jobs takes the others along", case(
        RANDOM, "random batches over a hundred thousand ids: the same as the model, and the checker agrees")),
    Planted("delays_lost_at_a_restart", "a delay without a row is forgotten by a restart", case(
        CONTRACT, "contract: whatever legal batches come, it stays the same as the plain store")),
    Planted("ended_lease_comes_back", "a restart takes the lease of a finished job for one that goes on", case(
        CONTRACT, "contract: whatever legal batches come, it stays the same as the plain store")),
    # ---- the wire and the library
    Planted("bytes_behind_a_message", "bytes behind a message are ignored", case(
        "protocol/codec_test", "a message cut at any byte is an error, and so is one with a byte too many")),
    Planted("nesting_unlimited", "any depth of nesting is skipped", case(
        "protocol/codec_rejects_test", "what is skipped may be nested to a limit and no further")),
    Planted("lease_no_cut", "a lease_no above 255 is cut", case(
        "protocol/codec_test", "what was encoded is what is decoded")),
    Planted("unknown_told_as_refused", "a request that may have been stored is called refused", case(
        PRODUCER, "a request refused at its first sending is refused, at a later one it is unknown")),
    Planted("resend_not_marked", "a request that is sent again does not say so", case(
        PRODUCER, "an unanswered request is sent again on the same connection, marked as a resend")),
    Planted("outcome_lost_at_a_reconnect", "outcomes that nobody has answered are dropped with the connection", case(
        WORKER, "after a reconnect it claims what it holds and repeats every unanswered outcome")),
    Planted("lease_believed_longer", "a worker believes that its lease is twice as long", case(
        WORKER, "leases are extended at a third, counted from the sending of the extension")),
    Planted("given_up_runs_on", "a worker that was silent until it may have been given up runs what waited for it", case(
        WORKER, "nor when it was silent for so long that the broker may have given it up")),
    Planted("registers_twice", "the refusal of an older request makes a worker register while it does so already", case(
        "client/client_worker_registration_test", "what was refused before a registration does not make a second one")),
    Planted("delivery_run_twice", "a delivery that comes twice is run twice", case(
        WORKER, "the same delivery twice, and one of another session, run nothing more")),
)
