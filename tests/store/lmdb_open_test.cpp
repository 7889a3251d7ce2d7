// Opening, creating and refusing a store directory.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/lmdb_options.hpp"
#include "broker/store/rows.hpp"
#include "broker/store/store_files.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq {
namespace {

namespace fs = std::filesystem;

LmdbOptions options_for(const std::string& path) {
  LmdbOptions options;
  options.path = path;
  options.map_bytes = std::uint64_t{64} << 20;
  options.preallocate_step_bytes = std::uint64_t{1} << 20;
  return options;
}

StoreProblem problem_of(const std::string& path, std::string* text) {
  StoreProblem problem = StoreProblem::none;
  const auto opened = open_lmdb_store(options_for(path), &problem);
  *text = opened.status().text();
  return problem;
}

TEST_CASE("a store is made where there is none, parents too, and opened again") {
  const TemporaryDirectory temporary;
  const std::string path = temporary.path() + "/a/b/store";
  protocol::Incarnation made{};
  {
    auto store = open_lmdb_store(options_for(path));
    REQUIRE_MESSAGE(store.ok(), store.status().text());
    const auto found = (*store)->recover();
    REQUIRE(found.ok());
    made = found->incarnation;
    CHECK(made != protocol::Incarnation{});
    CHECK(found->secret != 0);
    CHECK(found->mark.next_job == JobId{1});
    CHECK(found->queues.empty());
    CHECK(found->types == std::vector<std::string>{""});
  }
  auto again = open_lmdb_store(options_for(path));
  REQUIRE_MESSAGE(again.ok(), again.status().text());
  const auto found = (*again)->recover();
  REQUIRE(found.ok());
  CHECK(found->incarnation == made);
}

TEST_CASE("a creation that was cut short leaves nothing in the way") {
  const TemporaryDirectory temporary;
  // What a crash before the rename leaves behind: a torn file under the other name.
  std::ofstream(temporary.path() + "/data.mdb.new") << "torn";
  std::ofstream(temporary.path() + "/data.mdb.new-lock") << "torn";
  auto store = open_lmdb_store(options_for(temporary.path()));
  REQUIRE_MESSAGE(store.ok(), store.status().text());
  CHECK((*store)->recover().ok());
  CHECK_FALSE(fs::exists(temporary.path() + "/data.mdb.new"));
}

TEST_CASE("a second opener is told who has the store") {
  const TemporaryDirectory temporary;
  auto store = open_lmdb_store(options_for(temporary.path()));
  REQUIRE(store.ok());
  std::string text;
  CHECK(problem_of(temporary.path(), &text) == StoreProblem::already_open);
  CHECK(text.find(std::to_string(getpid())) != std::string::npos);

  // The lock goes with its process, however it ends.
  *store = nullptr;
  CHECK(problem_of(temporary.path(), &text) == StoreProblem::none);
}

TEST_CASE("a store of a newer format is refused with both versions") {
  const TemporaryDirectory temporary;
  REQUIRE(open_lmdb_store(options_for(temporary.path())).ok());
  {
    lmdb::Env env(lmdb::data_file(temporary.path()), std::uint64_t{64} << 20, lmdb::Env::Mode::read_write);
    lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
    std::string row;
    lmdb::encode_format(lmdb::kFormatVersion + 6, &row);
    txn.put(lmdb::Table::meta, lmdb::meta_key::kFormat, row);
    txn.commit();
  }
  std::string text;
  CHECK(problem_of(temporary.path(), &text) == StoreProblem::newer_format);
  CHECK(text.find("format 7") != std::string::npos);
  CHECK(text.find("format 1") != std::string::npos);
}

TEST_CASE("what is not a store is told from a damaged one") {
  const TemporaryDirectory temporary;
  const std::string file = temporary.path() + "/data.mdb";
  std::string text;
  SUBCASE("an empty file, which LMDB would take for a new store") {
    std::ofstream(file).flush();
    CHECK(problem_of(temporary.path(), &text) == StoreProblem::damaged);
    CHECK(fs::file_size(file) == 0);
  }
  SUBCASE("another program's file") {
    std::ofstream(file) << std::string(20'000, 'x');
    CHECK(problem_of(temporary.path(), &text) == StoreProblem::damaged);
  }
  SUBCASE("a truncated file") {
    REQUIRE(open_lmdb_store(options_for(temporary.path())).ok());
    for (const std::uintmax_t size : {fs::file_size(file) / 2, std::uintmax_t{8192}, std::uintmax_t{100}}) {
      fs::resize_file(file, size);
      CHECK(problem_of(temporary.path(), &text) == StoreProblem::damaged);
    }
  }
}

// LMDB has no checksum on its heads: the state before the last transaction would be the store.
// All flips but one are seen: the newer head with the number before the older one's looks like one that could not be written, when
// LMDB puts the old number back. There is none such for the numbers that are made here.
TEST_CASE("a store is not opened when a bit of a transaction's number has flipped in one of its heads") {
  const TemporaryDirectory temporary;
  REQUIRE(open_lmdb_store(options_for(temporary.path())).ok());
  const std::string file = lmdb::data_file(temporary.path());
  for (int i = 0; i < 10; ++i) {
    lmdb::Env env(file, std::uint64_t{64} << 20, lmdb::Env::Mode::read_write);
    lmdb::Txn txn(&env, lmdb::Txn::Kind::write);
    txn.put(lmdb::Table::types, "test", std::to_string(i));
    txn.commit();
  }
  constexpr std::size_t kTransaction = 144;
  for (const std::size_t head : {std::size_t{0}, std::size_t{4096}}) {
    for (std::size_t bit = 0; bit < 64; ++bit) {
      CAPTURE(head);
      CAPTURE(bit);
      const auto flip = [&] {
        std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
        const auto at = static_cast<std::streamoff>(head + kTransaction + bit / 8);
        const int byte = bytes.seekg(at).get();
        bytes.seekp(at).put(static_cast<char>(byte ^ (1 << bit % 8)));
      };
      flip();
      std::string text;
      CHECK(problem_of(temporary.path(), &text) == StoreProblem::damaged);
      CHECK_MESSAGE(text.find("the heads contradict each other") != std::string::npos, text);
      flip();
    }
  }
  std::string text;
  CHECK(problem_of(temporary.path(), &text) == StoreProblem::none);
}

TEST_CASE("a copy of a store is another store") {
  const TemporaryDirectory temporary;
  protocol::Incarnation original{};
  std::uint64_t secret = 0;
  {
    auto store = open_lmdb_store(options_for(temporary.path() + "/original"));
    REQUIRE(store.ok());
    const auto found = (*store)->recover();
    REQUIRE(found.ok());
    original = found->incarnation;
    secret = found->secret;
    fs::create_directory(temporary.path() + "/restored");
    REQUIRE((*store)->backup(temporary.path() + "/restored/data.mdb").ok());
  }
  auto restored = open_lmdb_store(options_for(temporary.path() + "/restored"));
  REQUIRE_MESSAGE(restored.ok(), restored.status().text());
  const auto found = (*restored)->recover();
  REQUIRE(found.ok());
  CHECK(found->incarnation != original);
  CHECK(found->secret != secret);
}

TEST_CASE("a directory that cannot be written is read_only") {
  if (geteuid() == 0) return;  // root may write everywhere
  const TemporaryDirectory temporary;
  REQUIRE(chmod(temporary.path().c_str(), 0500) == 0);
  std::string text;
  CHECK(problem_of(temporary.path(), &text) == StoreProblem::read_only);
  REQUIRE(chmod(temporary.path().c_str(), 0700) == 0);
}

}  // namespace
}  // namespace jobq
