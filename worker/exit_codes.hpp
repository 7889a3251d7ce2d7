// How jobq-worker ends, and what it makes of how a command ends. Scripts and supervisors rest on both: DO NOT RENUMBER.
// docs/jobq_worker.md lists them, tests/e2e/jobq_worker_test.py checks each. The numbers are those of sysexits.h
// and of env(1) where they have one that fits.
#pragma once

namespace jobq::runner {

// Of jobq-worker itself.
inline constexpr int kExitOk = 0;         // drained: every outcome is with the broker
inline constexpr int kExitRefused = 1;    // the broker refuses this worker for good
inline constexpr int kExitUsage = 64;     // the command line is wrong; nothing was started
inline constexpr int kExitInternal = 70;  // the system or this program is at fault
// Ended before the broker had answered every outcome: those jobs will run again.
inline constexpr int kExitUnanswered = 75;
inline constexpr int kExitCannotRun = 126;  // the command is there, and is no program that this user may run
inline constexpr int kExitCommandNotFound = 127;  // there is no such command

// Of the command, for one job.
inline constexpr int kCommandAcks = 0;
inline constexpr int kCommandRejects = 65;  // EX_DATAERR: this job can never succeed
inline constexpr int kCommandNacks =
    75;  // EX_TEMPFAIL: as every other code, but the error is its own words alone

}  // namespace jobq::runner
