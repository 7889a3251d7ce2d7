// What the end of a command means for its job, and the words for it.
//
// Thread-safety: functions without state.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace jobq::runner {

// How a process ended.
struct ProcessEnd {
  bool by_signal = false;
  int number = 0;  // exit code, or signal
  bool core_dumped = false;
};

// "exit code 3", "killed by SIGSEGV (segmentation fault), core dumped"
std::string describe(const ProcessEnd& end);

// Why jobq-worker ended a command, if it did. Once asked to stop, how the command ends decides nothing any more: an exit
// code 0 of a program that stops politely on SIGTERM does not say that the job is done.
enum class StopCause : std::uint8_t { none, time_limit, cancelled, lost_lease, drain };

enum class Settle : std::uint8_t { ack, nack, reject, release };

struct Verdict {
  Settle settle = Settle::release;
  std::string error;  // of a nack or reject: valid UTF-8, at most limits::kErrorTextBytesMax bytes
};

// A command that ended by itself. `error_output`: the end of its stderr, valid UTF-8.
Verdict judge(const ProcessEnd& end, std::string_view error_output);

// A command that was ended. `limit`: for StopCause::time_limit; `killed`: SIGTERM was not enough.
Verdict judge_stopped(StopCause cause, std::string_view limit, bool killed, std::string_view error_output);

// "<head>: <the last line>" and under it the rest when there is more than one line; within the limit of the wire.
std::string error_text(std::string_view head, std::string_view error_output);

}  // namespace jobq::runner
