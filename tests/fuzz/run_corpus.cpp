// Runs a fuzz target over its corpus, the part of fuzzing that any compiler can do in seconds: each file that somebody wrote whole,
// cut at every byte, and with every byte changed (of the first kBytesMax); what libFuzzer found (in the directory found/) whole only.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kBytesMax = 600;
constexpr char kChanged[] = {'\x00', '\x7F', '\x80', '\x9F', '\xC1', '\xC6', '\xDD', '\xDF', '\xFF'};

// In a buffer of exactly its size, for the sanitizers.
void run(const std::string& bytes, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
  for (std::size_t i = 0; i < size; ++i) exact[i] = static_cast<std::uint8_t>(bytes[i]);
  LLVMFuzzerTestOneInput(exact.get(), size);
}

// The same order everywhere. None when there is no such directory.
std::vector<std::string> read_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(directory, missing)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
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

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path place = argc > 1 ? argv[1] : "";
  const std::vector<std::string> written = read_files(place), found = read_files(place / "found");
  if (written.empty() || found.empty()) {
    std::fputs("run_corpus: no files; give the directory of a corpus\n", stderr);
    return 1;
  }
  for (const std::string& bytes : written) run_in_order(bytes);
  for (const std::string& bytes : found) run(bytes, bytes.size());
  const std::size_t count = written.size() + found.size();
  std::printf("test cases: %zu | %zu passed | 0 failed\n", count, count);
  return 0;
}
