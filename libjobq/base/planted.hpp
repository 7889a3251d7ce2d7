// JOBQ_PLANTED(name): whether the planted bug of that name is switched on.
//
// A test that never fails proves nothing. So wrong lines stand in the product, each behind its name, and
// tests/planted_bugs_test.py switches on one after the other and demands that its test goes red. They exist in builds with
// -Dplanted_bugs=true only, which meson refuses for a release: everywhere else JOBQ_PLANTED is the word false, and nothing of
// this file is compiled in.
//
// In such a build the environment variable JOBQ_PLANTED_BUG names the one that is on, for the life of the process; a name
// that there is not ends it at once with exit code 64 and the list. A name in the code that is not in the list below does
// not compile. Any thread may ask.
#pragma once

#ifdef JOBQ_PLANTED_BUGS

#include <cstddef>
#include <string_view>

namespace jobq::planted {

// What each does and who finds it: tests/faults/planted_bugs.py.
inline constexpr std::string_view kBugs[] = {
    // broker/server
    "commit_in_two_steps",
    "failed_commit_ignored",
    "failed_send_is_delivered",
    "full_disk_unnoticed",
    "large_job_overtaken",
    "leases_by_the_wall_clock",
    "reply_before_commit",
    "session_number_not_stored",
    // broker/net
    "routing_id_handed_over",
    // broker/engine
    "attempts_not_counted",
    "backoff_in_32_bits",
    "bytes_of_the_dead_counted",
    "cancel_forgotten",
    "delay_from_the_wall_clock",
    "drain_forgotten",
    "empty_queue_not_woken",
    "expiry_in_seconds",
    "half_a_group",
    "history_overwritten",
    "jump_fires_twice",
    "key_of_the_dead_given_away",
    "lease_no_at_least",
    "lease_no_ignored",
    "lease_no_reused",
    "leased_cancelled_at_once",
    "leased_not_counted_down",
    "lowest_priority_first",
    "no_grace_after_a_restart",
    "pause_ignored",
    "rate_ignored",
    "resend_enqueues_again",
    "session_ignored",
    "session_without_secret",
    "sleeps_through_lapses",
    "sleeps_through_timers",
    "task_forgotten",
    "window_limits_turn",
    // broker/store
    "answers_lost_at_a_restart",
    "attempts_lost_at_a_restart",
    "checksum_ignored",
    "commit_error_ignored",
    "commits_not_synced",
    "death_in_two_transactions",
    "delays_lost_at_a_restart",
    "ended_lease_comes_back",
    "key_kept_for_ever",
    "key_lost_at_redrive",
    "map_grown_under_a_reader",
    "meta_error_ignored",
    "meta_page_not_synced",
    "range_little_endian",
    "readers_leak",
    "returned_job_not_listed",
    "store_made_in_place",
    "sweep_takes_the_living",
    "two_brokers_on_one_store",
    // libjobq
    "bytes_behind_a_message",
    "delivery_run_twice",
    "given_up_runs_on",
    "lease_believed_longer",
    "lease_no_cut",
    "nesting_unlimited",
    "outcome_lost_at_a_reconnect",
    "registers_twice",
    "resend_not_marked",
    "unknown_told_as_refused",
};

consteval std::size_t place_of(std::string_view name) {
  std::size_t place = 0;
  while (kBugs[place] != name) ++place;  // Behind the end is no constant: the compiler says so.
  return place;
}

bool is_on(std::size_t place);

}  // namespace jobq::planted

#define JOBQ_PLANTED(name) (::jobq::planted::is_on(::jobq::planted::place_of(#name)))

#else

#define JOBQ_PLANTED(name) false

#endif
