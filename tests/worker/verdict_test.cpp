#include "worker/verdict.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <string>

#include "libjobq/base/utf8.hpp"
#include "libjobq/protocol/limits.hpp"

using namespace jobq::runner;

namespace {
ProcessEnd exited(int code) { return {false, code, false}; }
}  // namespace

TEST_CASE("exit codes settle the job") {
  CHECK(judge(exited(0), "warning: old").settle == Settle::ack);
  CHECK(judge(exited(65), "no such customer").settle == Settle::reject);
  CHECK(judge(exited(75), "busy").settle == Settle::nack);
  CHECK(judge(exited(1), "").settle == Settle::nack);
  CHECK(judge(exited(255), "").settle == Settle::nack);
  CHECK(judge({true, SIGTERM, false}, "").settle == Settle::nack);
}

TEST_CASE("the error is the command's own words; an exit code that says nothing stands in front") {
  CHECK(judge(exited(65), "550 no such mailbox").error == "550 no such mailbox");
  CHECK(judge(exited(75), "").error == "exit code 75");
  CHECK(judge(exited(3), "").error == "exit code 3");
  CHECK(judge(exited(3), "disk full").error == "exit code 3: disk full");
  CHECK(judge(exited(1), "Traceback:\n  line 5\nKeyError: 'sku'").error ==
        "exit code 1: KeyError: 'sku'\n\nTraceback:\n  line 5\nKeyError: 'sku'");
}

TEST_CASE("a death by signal is named") {
  CHECK(judge({true, SIGSEGV, true}, "").error == "killed by SIGSEGV (Segmentation fault), core dumped");
  CHECK(judge({true, SIGKILL, false}, "").error.find("out of memory?") != std::string::npos);
  CHECK(judge({true, SIGRTMIN + 3, false}, "").error.find("killed by ") == 0);
}

TEST_CASE("a command that was ended has not done its job, whatever it then says") {
  const Verdict late = judge_stopped(StopCause::time_limit, "30s (--max-run)", false, "half done");
  CHECK(late.settle == Settle::nack);
  CHECK(late.error == "ran longer than 30s (--max-run) and was ended by SIGTERM: half done");
  CHECK(judge_stopped(StopCause::time_limit, "30s", true, "").error.find("SIGKILL") != std::string::npos);
  CHECK(judge_stopped(StopCause::drain, "", true, "x").settle == Settle::release);
  CHECK(judge_stopped(StopCause::lost_lease, "", false, "").settle == Settle::release);
  CHECK(judge_stopped(StopCause::cancelled, "", false, "").settle == Settle::release);
}

TEST_CASE("errors keep within the wire's limit and stay UTF-8") {
  std::string euros;
  for (int i = 0; i < 4'000; ++i) euros += "\xe2\x82\xac";
  for (const std::string& output :
       {euros, "x" + euros, "short\n" + euros, euros + "\nshort", euros + "\n" + euros}) {
    const std::string error = error_text("exit code 1", output);
    CHECK(error.size() <= jobq::limits::kErrorTextBytesMax);
    CHECK(error.size() > 1'000);
    CHECK(jobq::is_valid_utf8(error));
  }
  CHECK(error_text("", "").size() > 5);
}
