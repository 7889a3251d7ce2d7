// Runs a fuzz target over the files of its corpus, each whole, cut at every byte, and with every byte changed: the part of
// fuzzing that any compiler can do in a second.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// In a buffer of exactly its size, for the sanitizers.
void run(const std::string& bytes, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
  for (std::size_t i = 0; i < size; ++i) exact[i] = static_cast<std::uint8_t>(bytes[i]);
  LLVMFuzzerTestOneInput(exact.get(), size);
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      ++files;
      for (std::size_t size = 0; size <= bytes.size(); ++size) run(bytes, size);
      for (char& byte : bytes) {
        const char before = byte;
        for (const char changed : {'\x00', '\x7F', '\x80', '\x9F', '\xC1', '\xC6', '\xDD', '\xDF', '\xFF'}) {
          byte = changed;
          run(bytes, bytes.size());
        }
        byte = before;
      }
    }
  }
  if (files == 0) {
    std::fputs("run_corpus: no files; give the directories of a corpus\n", stderr);
    return 1;
  }
  std::printf("test cases: %zu | %zu passed | 0 failed\n", files, files);
  return 0;
}
