#include "worker/environment.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using jobq::runner::header_variable;
using jobq::runner::inherited_variables;
using jobq::runner::job_variables;
using jobq::runner::JobFacts;

namespace {

bool holds(const std::vector<std::string>& variables, const std::string& wanted) {
  return std::find(variables.begin(), variables.end(), wanted) != variables.end();
}

bool names(const std::vector<std::string>& variables, const std::string& name) {
  return std::any_of(variables.begin(), variables.end(),
                     [&](const std::string& variable) { return variable.starts_with(name + "="); });
}

}  // namespace

TEST_CASE("header names become names of variables that a shell can read") {
  CHECK(header_variable("trace") == "JOBQ_HEADER_TRACE");
  CHECK(header_variable("Trace-Id.2") == "JOBQ_HEADER_TRACE_ID_2");
  CHECK(header_variable("x=y\n$(rm)") == "JOBQ_HEADER_X_Y___RM_");
  CHECK(header_variable("\xc3\xa4") == "JOBQ_HEADER___");
  CHECK(header_variable("") == "JOBQ_HEADER_");
}

TEST_CASE("a job is told in variables") {
  JobFacts facts;
  facts.id = "j1a";
  facts.queue = "mail";
  facts.type = "SendReceipt";
  facts.attempt = 2;
  facts.max_attempts = 25;
  facts.priority = 7;
  facts.enqueued_at_s = 1732250000;
  facts.deadline_s = 1732250030;
  facts.headers = {
      {"trace", "7f3a"}, {"Trace", "second"}, {"nul", std::string("a\0b", 3)}, {"lines", "a\nb=c"}};
  const auto variables = job_variables(facts);
  CHECK(holds(variables, "JOBQ_JOB_ID=j1a"));
  CHECK(holds(variables, "JOBQ_QUEUE=mail"));
  CHECK(holds(variables, "JOBQ_TYPE=SendReceipt"));
  CHECK(holds(variables, "JOBQ_ATTEMPT=2"));
  CHECK(holds(variables, "JOBQ_MAX_ATTEMPTS=25"));
  CHECK(holds(variables, "JOBQ_PRIORITY=7"));
  CHECK(holds(variables, "JOBQ_ENQUEUED_AT=1732250000"));
  CHECK(holds(variables, "JOBQ_DEADLINE=1732250030"));
  CHECK(holds(variables, "JOBQ_HEADER_LINES=a\nb=c"));
  CHECK(holds(variables, "JOBQ_HEADER_TRACE=7f3a"));
  CHECK_FALSE(holds(variables, "JOBQ_HEADER_TRACE=second"));
  CHECK_FALSE(names(variables, "JOBQ_HEADER_NUL"));
}

TEST_CASE("without a limit there is no JOBQ_DEADLINE, without a type JOBQ_TYPE is empty") {
  const auto variables = job_variables(JobFacts{});
  CHECK_FALSE(names(variables, "JOBQ_DEADLINE"));
  CHECK(holds(variables, "JOBQ_TYPE="));
}

TEST_CASE(
    "of the worker's environment a command gets what is not the worker's alone, nor passes for the job's") {
  std::vector<std::string> given{"PATH=/usr/bin",
                                 "NOTIFY_SOCKET=/run/notify",
                                 "WATCHDOG_USEC=1",
                                 "LISTEN_FDS=1",
                                 "JOBQ_HEADER_TRACE=forged",
                                 "JOBQ_ENDPOINT=tcp://old:1",
                                 "NOEQUALS",
                                 "HOME=/root"};
  std::vector<char*> environment;
  for (std::string& variable : given) environment.push_back(variable.data());
  environment.push_back(nullptr);
  const auto variables = inherited_variables(environment.data(), "ipc:///run/jobq");
  CHECK(variables ==
        std::vector<std::string>{"PATH=/usr/bin", "NOEQUALS", "HOME=/root", "JOBQ_ENDPOINT=ipc:///run/jobq"});
}
