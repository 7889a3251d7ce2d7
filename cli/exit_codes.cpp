#include "cli/exit_codes.hpp"

namespace jobq::cli {

int exit_code_for(Code code) {
  switch (code) {
    case Code::ok:
      return kExitOk;
    case Code::bad_endpoint:
      return kExitUsage;
    case Code::unreachable:
      return kExitNoBroker;
    case Code::unsupported_version:
    case Code::unknown_verb:
      return kExitRefused;
    case Code::internal:
    case Code::corruption:
    case Code::io_error:
      return kExitInternal;
    case Code::unknown_producer:  // Whether it was stored is unknown.
    case Code::timed_out:
      return kExitTryAgain;
    default:
      return is_retryable(code) ? kExitTryAgain : kExitRefused;
  }
}

}  // namespace jobq::cli
