// Runs a fuzz target over the files of its corpus: each whole, cut at every byte, and with every byte changed (of the first
// kBytesMax: the part of fuzzing that any compiler can do in seconds); then, for JOBQ_FUZZ_SECONDS (default 0), mixed and changed at
// random from JOBQ_SEED (default 1).
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "libjobq/base/prng.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kBytesMax = 600;
constexpr std::size_t kMixedBytesMax = 4'096;
constexpr char kChanged[] = {'\x00', '\x7F', '\x80', '\x9F', '\xC1', '\xC6', '\xDD', '\xDF', '\xFF'};

// In a buffer of exactly its size, for the sanitizers.
void run(const std::string& bytes, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
  for (std::size_t i = 0; i < size; ++i) exact[i] = static_cast<std::uint8_t>(bytes[i]);
  LLVMFuzzerTestOneInput(exact.get(), size);
}

long number_from(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

std::vector<std::string> read_corpus(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());  // the same runs everywhere
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// Each whole, cut, and changed.
void run_in_order(std::string bytes) {
  run(bytes, bytes.size());
  const std::size_t end = std::min(bytes.size(), kBytesMax);
  for (std::size_t size = 0; size < end; ++size) run(bytes, size);
  for (std::size_t i = 0; i < end; ++i) {
    const char before = bytes[i];
    for (const char changed : kChanged) {
      bytes[i] = changed;
      run(bytes, bytes.size());
    }
    bytes[i] = before;
  }
}

void mutate(std::string* bytes, const std::vector<std::string>& corpus, jobq::Prng* prng) {
  const std::size_t at = prng->below(bytes->size() + 1);
  switch (prng->below(6)) {
    case 0:
      bytes->insert(at, 1, static_cast<char>(prng->below(256)));
      return;
    case 1:
      bytes->erase(at, 1 + prng->below(8));
      return;
    case 2:  // a piece of itself once more
      bytes->insert(at, bytes->substr(prng->below(bytes->size() + 1), 1 + prng->below(64)));
      return;
    case 3: {  // a piece of another
      const std::string& other = corpus[prng->below(corpus.size())];
      bytes->insert(at, other.substr(prng->below(other.size() + 1), 1 + prng->below(200)));
      return;
    }
    case 4:
      if (at < bytes->size()) (*bytes)[at] = kChanged[prng->below(std::size(kChanged))];
      return;
    default:
      if (at < bytes->size()) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << prng->below(8)));
      return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> corpus = read_corpus(argc, argv);
  if (corpus.empty()) {
    std::fputs("run_corpus: no files; give the directories of a corpus\n", stderr);
    return 1;
  }
  for (const std::string& bytes : corpus) run_in_order(bytes);
  const auto began = std::chrono::steady_clock::now();
  const std::chrono::seconds allowed{number_from("JOBQ_FUZZ_SECONDS", 0)};
  jobq::Prng prng{static_cast<std::uint64_t>(number_from("JOBQ_SEED", 1))};
  std::size_t mixed = 0;
  for (; std::chrono::steady_clock::now() - began < allowed; ++mixed) {
    std::string bytes = corpus[prng.below(corpus.size())];
    for (std::size_t changes = 1 + prng.below(6); changes > 0; --changes) mutate(&bytes, corpus, &prng);
    if (bytes.size() > kMixedBytesMax) bytes.resize(kMixedBytesMax);
    run(bytes, bytes.size());
  }
  std::printf("%zu mixed at random\ntest cases: %zu | %zu passed | 0 failed\n", mixed, corpus.size(),
              corpus.size());
  return 0;
}
