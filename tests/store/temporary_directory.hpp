// A directory for one test, removed with everything in it at the end. Not thread-safe. Ends the test run when
// it cannot be made.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "libjobq/base/check.hpp"

namespace jobq {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : TemporaryDirectory(std::filesystem::temp_directory_path()) {}
  explicit TemporaryDirectory(const std::filesystem::path& parent)
      : path_((parent / "jobq-test-XXXXXX").string()) {
    JOBQ_CHECK(mkdtemp(path_.data()) != nullptr, "cannot make {}", path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace jobq
