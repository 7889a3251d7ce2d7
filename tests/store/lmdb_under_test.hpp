// An LmdbStore in a temporary directory, for tests. Options are small so that limits are met early. Not thread-safe.
#pragma once

#include <memory>
#include <utility>

#include "broker/store/lmdb_options.hpp"
#include "libjobq/base/check.hpp"
#include "tests/store/store_contract.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq {

class LmdbUnderTest final : public StoreUnderTest {
 public:
  static LmdbOptions small_options() {
    LmdbOptions options;
    options.map_bytes = std::uint64_t{256} << 20;
    options.preallocate_step_bytes = std::uint64_t{1} << 20;
    options.soon_ms = 20;
    options.soon_timers_max = 100;
    options.cached_blocks_max = 8;  // so that blocks are put out and read again all the time
    return options;
  }

  explicit LmdbUnderTest(LmdbOptions options = small_options()) : options_(std::move(options)) {
    options_.path = directory_.path();
    reopen();
  }
  Store& store() override { return *store_; }
  Recovered reopen() override {
    store_ = nullptr;  // the lock goes first
    auto opened = open_lmdb_store(options_);
    JOBQ_CHECK(opened.ok(), "{}", opened.status().text());
    store_ = std::move(*opened);
    auto found = store_->recover();
    JOBQ_CHECK(found.ok(), "{}", found.status().text());
    return std::move(*found);
  }
  void close() { store_ = nullptr; }
  [[nodiscard]] const std::string& path() const { return options_.path; }

 private:
  TemporaryDirectory directory_;
  LmdbOptions options_;
  std::unique_ptr<Store> store_;
};

}  // namespace jobq
