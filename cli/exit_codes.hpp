// How `jobq` ends, for scripts. DO NOT RENUMBER: docs/cli.md promises these, tests/e2e/cli_test.py checks each.
// The numbers are those of sysexits.h where it has one that fits.
#pragma once

#include "jobq/status.hpp"

namespace jobq::cli {

inline constexpr int kExitOk = 0;
// The broker said no, the thing named does not exist, or a check found problems.
inline constexpr int kExitRefused = 1;
// The command line is wrong; nothing was sent.
inline constexpr int kExitUsage = 64;
// A file or directory that was named cannot be read.
inline constexpr int kExitNoInput = 66;
// No broker answered at the endpoint; nothing was done.
inline constexpr int kExitNoBroker = 69;
// A fault of the broker or of this program.
inline constexpr int kExitInternal = 70;
// Refused for now (queue or store full, stopping), or the outcome is unknown.
inline constexpr int kExitTryAgain = 75;
// SIGINT or SIGTERM before the end.
inline constexpr int kExitInterrupted = 130;

// For a refusal that came back as a Status. timed_out is "outcome unknown" here; a call that never reached a broker is
// told apart by the caller (broker_link.hpp).
int exit_code_for(Code code);

}  // namespace jobq::cli
