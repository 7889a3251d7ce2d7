// The rules of checker.hpp, one function per invariant. Each adds its violations, and its counts, to the
// verdict. No state; cannot fail.
#pragma once

#include "tests/faults/checker.hpp"
#include "tests/faults/job_story.hpp"

namespace jobq::faults {

// rules_of_jobs.cpp: what is there at the end, and why.
void check_no_loss(const Stories& stories, Verdict* verdict);                                 // I1
void check_no_phantom(const Stories& stories, Verdict* verdict);                              // I2
void check_intact(const Stories& stories, Verdict* verdict);                                  // I3
void check_reasons(const Stories& stories, const CheckerOptions& options, Verdict* verdict);  // I10
void check_unique_keys(const Stories& stories, Verdict* verdict);                             // I11
void check_counts(const Stories& stories, const Dump& dump, Verdict* verdict);                // I12
void check_idempotent(const Stories& stories, Verdict* verdict);                              // I13
void check_groups(const Stories& stories, Verdict* verdict);                                  // I14
void check_reads(const Stories& stories, Verdict* verdict);                                   // I16

// rules_of_leases.cpp: who may hold a job, and when.
void check_ack_is_final(const Stories& stories, Verdict* verdict);                                // I4
void check_one_lease(const Stories& stories, const CheckerOptions& options, Verdict* verdict);    // I5
void check_fencing(const Stories& stories, Verdict* verdict);                                     // I6
void check_attempts(const Stories& stories, Verdict* verdict);                                    // I7
void check_not_early(const Stories& stories, const CheckerOptions& options, Verdict* verdict);    // I8
void check_order(const Stories& stories, Verdict* verdict);                                       // I9
void check_not_granted(const Stories& stories, const CheckerOptions& options, Verdict* verdict);  // I17

// rules_of_runs.cpp: what only a run that looks into the broker, or that provokes its faults itself, can show.
void check_grants(const std::vector<Event>& history, Verdict* verdict);                            // I5
void check_order_of_grants(const std::vector<Event>& history, Verdict* verdict);                   // I9
void check_exits(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);     // I1
void check_said_after_durable(const std::vector<Event>& history, Verdict* verdict);                // I15
void check_liveness(const std::vector<Event>& history, Verdict* verdict);                          // I18
void check_deaths(const std::vector<Event>& history, Verdict* verdict);                            // I19
void check_restarts(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);  // I20
void check_clock(const Stories& stories, const std::vector<Event>& history, const CheckerOptions& options,
                 Verdict* verdict);                                        // I21
void check_same_run(const std::vector<Event>& history, Verdict* verdict);  // I22

// rules_of_operators.cpp: what an operator was told has been done, and nothing that nobody asked for. Where the
// broker's lines are there.
void check_redriven(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);  // I10
void check_put_off(const Stories& stories, const std::vector<Event>& history, const CheckerOptions& options,
                   Verdict* verdict);                                                             // I8
void check_removed(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);  // I1
void check_drained(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);  // I17
void check_tasks(const Stories& stories, const std::vector<Event>& history, Verdict* verdict);    // I15, I18

}  // namespace jobq::faults
