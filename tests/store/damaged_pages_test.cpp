// Heads of a file that is no store, or of one whose pages were made wrong, one field at a time: what the reader of damaged
// files makes of each, and that it reads nothing outside of the file.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>

#include "broker/store/lmdb_pages.hpp"
#include "tests/store/damaged_store.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::size_t kPage = 4096;

std::string sound_bytes() {
  LmdbUnderTest tested;
  fill(&tested);
  tested.close();
  std::ifstream in(tested.path() + "/data.mdb", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <typename T>
T get(const std::string& bytes, std::size_t at) {
  T value{};
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <typename T>
void set(std::string* bytes, std::size_t at, T value) {
  REQUIRE(at + sizeof value <= bytes->size());
  std::memcpy(bytes->data() + at, &value, sizeof value);
}

// Where the head that counts is: the one of the newer transaction.
std::size_t newer_head(const std::string& bytes) {
  return get<std::uint64_t>(bytes, 144) > get<std::uint64_t>(bytes, kPage + 144) ? 0 : kPage;
}
std::uint64_t table_list(const std::string& bytes) {
  return get<std::uint64_t>(bytes, newer_head(bytes) + 128);
}

struct Read {
  Status status;
  std::set<std::string> keys;  // of the table of jobs
  std::string lost, head_damage;
  std::size_t lost_tables = 0;
  bool free_known = false;
};

Read read(const std::string& bytes) {
  const TemporaryDirectory place;
  const std::string path = place.path() + "/file";
  std::ofstream(path, std::ios::binary) << bytes;
  Read found;
  try {
    PageFile file(path);
    found.head_damage = file.head_damage();
    found.lost_tables = file.lost_tables().size();
    found.free_known = file.free_pages_known();
    if (const auto root = file.table_root(Table::jobs)) {
      file.walk(
          *root,
          [&](const StoredRow& row) {
            found.keys.emplace(row.key);
            const auto again = file.row_at(row.place);
            REQUIRE(again.has_value());
            CHECK(again->key == row.key);
          },
          [&](const LostKeys& lost) { found.lost += lost.why + "\n"; });
    }
    CHECK_FALSE(file.row_at({0, 0}).has_value());
    CHECK_FALSE(file.row_at({~std::uint64_t{0}, 0}).has_value());
  } catch (const StoreError& error) {
    found.status = error.status();
  }
  return found;
}

// The first page of the tree of jobs, and one of its leaves.
std::uint64_t jobs_root(const std::string& bytes) {
  const std::size_t page = table_list(bytes) * kPage;
  const std::size_t nodes = (get<std::uint16_t>(bytes, page + 12) - 16U) / 2U;
  for (std::size_t i = 0; i < nodes; ++i) {
    const std::size_t at = page + get<std::uint16_t>(bytes, page + 16 + 2 * i);
    if (bytes.substr(at + 8, get<std::uint16_t>(bytes, at + 6)) == "jobs")
      return get<std::uint64_t>(bytes, at + 8 + 4 + 40);
  }
  FAIL("no table of jobs");
  return 0;
}
std::uint64_t child(const std::string& bytes, std::uint64_t branch, std::size_t index) {
  const std::size_t page = branch * kPage;
  const std::size_t at = page + get<std::uint16_t>(bytes, page + 16 + 2 * index);
  return get<std::uint16_t>(bytes, at) | std::uint64_t{get<std::uint16_t>(bytes, at + 2)} << 16;
}

TEST_CASE("heads: each field that is wrong in one leaves the other, in both nothing") {
  const std::string sound = sound_bytes();
  REQUIRE(read(sound).keys.size() > 250);
  const std::size_t newer = newer_head(sound);
  const auto spoilt = [&](std::size_t field, std::size_t head) {
    std::string bytes = sound;
    set(&bytes, head + field, std::uint32_t{0x12345});
    return bytes;
  };
  for (const std::size_t field :
       {std::size_t{16}, std::size_t{20}, std::size_t{40}}) {  // magic, version, size of a page
    CAPTURE(field);
    CHECK(read(spoilt(field, newer)).status.ok());
    CHECK(read(spoilt(field, kPage - newer)).keys == read(sound).keys);
    std::string bytes = spoilt(field, newer);
    set(&bytes, kPage - newer + field, std::uint32_t{0x12345});
    CHECK(read(bytes).status.text().find("no usable head") != std::string::npos);
  }
  std::string bytes = sound;
  set(&bytes, newer + 136, ~std::uint64_t{0});  // its last page
  CHECK(read(bytes).status.ok());
  bytes = sound;
  bytes.resize(100);
  CHECK(read(bytes).status.text().find("no usable head") != std::string::npos);
}

TEST_CASE("heads: where one's number is damaged, their lists of free pages say which is the newer") {
  const std::string sound = sound_bytes();
  const std::size_t newer = newer_head(sound), older = kPage - newer;
  for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{1} << 62}) {
    for (const std::size_t head : {newer, older}) {
      CAPTURE(wrong);
      CAPTURE(head == newer);
      std::string bytes = sound;
      set(&bytes, head + 144, wrong);
      const auto found = read(bytes);
      CHECK(found.keys == read(sound).keys);
      CHECK(found.head_damage.find("the heads contradict each other") != std::string::npos);
      CHECK(found.head_damage.ends_with("page " + std::to_string(newer / kPage) + " is taken for the newer"));
    }
  }
}

TEST_CASE("pages and entries: what is wrong is told, and the rest is read") {
  const std::string sound = sound_bytes();
  const std::size_t all = read(sound).keys.size();
  const std::uint64_t root = jobs_root(sound), leaf = child(sound, root, 1);
  const std::size_t branch_at = root * kPage, leaf_at = leaf * kPage;
  REQUIRE(get<std::uint16_t>(sound, branch_at + 10) == 1);
  REQUIRE(get<std::uint16_t>(sound, leaf_at + 10) == 2);
  const std::size_t entry = leaf_at + get<std::uint16_t>(sound, leaf_at + 16);
  const std::size_t node = branch_at + get<std::uint16_t>(sound, branch_at + 16 + 2);
  const auto with = [&](std::size_t at, std::uint16_t value) {
    std::string bytes = sound;
    set(&bytes, at, value);
    return read(bytes);
  };
  struct Wrong {
    const char* name;
    std::size_t at;
    std::uint16_t value;
    const char* lost;
  };
  for (const Wrong& one : {
           Wrong{"kind of a leaf", leaf_at + 10, 4, "neither a branch nor a leaf"},
           Wrong{"end of the entries before their begin", leaf_at + 12, 2, "limits make no sense"},
           Wrong{"end of the entries behind the free room", leaf_at + 12, 4096, "limits make no sense"},
           Wrong{"free room behind the page", leaf_at + 14, 5000, "limits make no sense"},
           Wrong{"half an entry", leaf_at + 12, 17, "limits make no sense"},
           Wrong{"branch without a child", branch_at + 12, 16, "a branch without a child"},
           Wrong{"entry in the head", leaf_at + 16, 3, "an entry makes no sense"},
           Wrong{"entry at the end", leaf_at + 16, 4094, "an entry makes no sense"},
           Wrong{"key beyond the page", entry + 6, 60'000, "an entry makes no sense"},
           Wrong{"value beyond the page", entry, 60'000, "an entry makes no sense"},
           Wrong{"value on pages that are not there", entry + 4, 1, "a large value cannot be read"},
           Wrong{"child in the head of the file", node, 1, "outside the file"},
           Wrong{"child behind the file", node + 2, 60'000, "outside the file"},
           Wrong{"child of another", node, static_cast<std::uint16_t>(child(sound, root, 0)),
                 "refers to it as well"},
           Wrong{"child is its own parent", node, static_cast<std::uint16_t>(root), "refers to it as well"},
           Wrong{"entry of the branch", branch_at + 16 + 2, 3, "an entry of the branch makes no sense"},
       }) {
    CAPTURE(std::string(one.name));
    const Read found = with(one.at, one.value);
    REQUIRE_MESSAGE(found.status.ok(), found.status.text());
    CHECK_MESSAGE(found.lost.find(one.lost) != std::string::npos, found.lost);
    CHECK(found.keys.size() < all);
    if (one.at > branch_at + kPage || one.at < branch_at) CHECK(found.keys.size() > all / 2);
  }
  // The last entry of a leaf: no key behind it tells where the loss ends.
  const std::size_t last = (get<std::uint16_t>(sound, leaf_at + 12) - 16U) / 2U - 1;
  CHECK(with(leaf_at + 16 + 2 * last, 3).keys.size() == all - 1);
}

TEST_CASE("lists of tables and of free pages") {
  const std::string sound = sound_bytes();
  const std::size_t head = newer_head(sound);
  std::string bytes = sound;
  set(&bytes, head + 128, ~std::uint64_t{0});
  CHECK(read(bytes).keys.empty());
  set(&bytes, head + 128, std::uint64_t{1});
  CHECK(read(bytes).lost_tables == 1);
  bytes = sound;
  set(&bytes, head + 80, ~std::uint64_t{0});
  CHECK(read(bytes).free_known);
  set(&bytes, head + 80, std::uint64_t{1});
  CHECK_FALSE(read(bytes).free_known);
  const std::uint64_t list = get<std::uint64_t>(sound, head + 80);
  REQUIRE(list != ~std::uint64_t{0});
  REQUIRE(get<std::uint16_t>(sound, list * kPage + 10) == 2);
  // Its first row: a count, and pages in falling order.
  const std::size_t at = list * kPage + get<std::uint16_t>(sound, list * kPage + 16);
  const std::size_t value = at + 8 + get<std::uint16_t>(sound, at + 6);
  CHECK(read(sound).free_known);
  for (const std::uint64_t wrong : {std::uint64_t{1'000'000}, ~std::uint64_t{0}}) {  // more than there are
    bytes = sound;
    set(&bytes, value, wrong);
    CHECK_FALSE(read(bytes).free_known);
  }
  if (get<std::uint64_t>(sound, value) > 0) {
    for (const std::uint64_t page : {std::uint64_t{0}, std::uint64_t{900'000}, ~std::uint64_t{0}}) {
      bytes = sound;
      set(&bytes, value + 8, page);
      CHECK_FALSE(read(bytes).free_known);
    }
  }
}

}  // namespace
}  // namespace jobq::lmdb
