// Any words on a command line: the broker's flags, and what jobq reads out of its arguments and of lines of jobs. They are understood or
// refused with a reason. One argument per line.
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "broker/command_line.hpp"
#include "cli/duration.hpp"
#include "cli/enqueue_options.hpp"
#include "cli/instant.hpp"
#include "cli/job_line.hpp"
#include "cli/queue_params.hpp"
#include "libjobq/base/check.hpp"

namespace {

using namespace jobq;

template <typename T>
void refused_with_a_reason(const Result<T>& result) {
  JOBQ_CHECK(result.ok() || !result.status().text().empty());
}

// CLI11 prints what --help and errors say.
class Silence {
 public:
  Silence() : out_(std::cout.rdbuf(nowhere_.rdbuf())), error_(std::cerr.rdbuf(nowhere_.rdbuf())) {}
  ~Silence() {
    std::cout.rdbuf(out_);
    std::cerr.rdbuf(error_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  std::ostringstream nowhere_;
  std::streambuf *out_, *error_;
};

void as_flags(std::vector<std::string>* words) {
  std::vector<char*> arguments{const_cast<char*>("jobq-broker")};
  for (std::string& word : *words) arguments.push_back(word.data());
  const int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  CommandLine line;
  const Silence silence;
  const auto code = read_command_line(count, arguments.data(), &line);
  JOBQ_CHECK(!code || *code == 0 || *code == 64);
}

void as_options(const std::vector<std::string>& words) {
  const auto at = [&](std::size_t n) { return n < words.size() ? words[n] : std::string(); };
  cli::EnqueueArgs args;
  args.queue = at(0);
  args.delay = at(1);
  args.at = at(2);
  args.expires = at(3);
  args.key = at(4);
  args.unique_for = at(5);
  args.max_run = at(6);
  if (words.size() > 7) args.headers.assign(words.begin() + 7, words.end());
  refused_with_a_reason(cli::plan_enqueue(args, TimeMs{1'700'000'000'000}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> words;
  std::istringstream lines(text);
  for (std::string word; words.size() < 64 && std::getline(lines, word);) words.push_back(word.c_str());
  for (const std::string& word : words) {
    refused_with_a_reason(cli::parse_duration(word));
    refused_with_a_reason(cli::parse_instant(word));
    refused_with_a_reason(cli::parse_setting(word));
    refused_with_a_reason(cli::parse_job_line(word, {}));
  }
  as_options(words);
  as_flags(&words);
  return 0;
}
