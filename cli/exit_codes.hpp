// How `jobq` ends, for scripts. DO NOT RENUMBER: docs/cli.md promises these, tests/e2e/cli_test.py checks each.
// The numbers are those of sysexits.h where it has one that fits.
#pragma once

#include "jobq/status.hpp"

namespace jobq::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitRefused = 1,        // the broker said no, the thing named does not exist, or a check found problems
  kExitUsage = 64,         // the command line is wrong; nothing was sent
  kExitNoInput = 66,       // a file or directory that was named cannot be read
  kExitNoBroker = 69,      // no broker answered at the endpoint; nothing was done
  kExitInternal = 70,      // a fault of the broker or of this program
  kExitTryAgain = 75,      // refused for now (queue or store full, stopping), or the outcome is unknown
  kExitInterrupted = 130,  // SIGINT or SIGTERM before the end
};

// For a refusal that came back as a Status. timed_out is "outcome unknown" here; a call that never reached a broker is
// told apart by the caller (broker_link.hpp).
int exit_code_for(Code code);

}  // namespace jobq::cli
