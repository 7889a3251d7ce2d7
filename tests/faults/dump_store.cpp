// dump_store DIR: the offline check of a store and its dump, one JSON object per line: what the history
// checker reads. Exit code 0: sound; 1: the check found something, or could not read the store.
#include <cstdio>

#include "broker/store/check_store.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: dump_store DIR\n");
    return 2;
  }
  jobq::CheckCounts counts;
  const auto print = [](std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  };
  const jobq::Status done = jobq::check_store({.path = argv[1], .dump = true}, print, &counts);
  if (!done.ok()) std::fprintf(stderr, "dump_store: %s\n", done.text().c_str());
  return done.ok() && counts.problems == 0 ? 0 : 1;
}
