// Files whose pages were made by hand, for what no single damage to a sound store gives: trees that are too deep, large values
// that lie nowhere, pages that change or go while they are read. The reader of damaged files takes what it can and says the rest.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "broker/store/lmdb_pages.hpp"
#include "tests/store/temporary_directory.hpp"

namespace jobq::lmdb {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kNothing = ~std::uint64_t{0};
constexpr std::uint16_t kBranch = 1, kLeaf = 2;

struct Entry {
  std::string key, value{};
  std::uint64_t child = 0;        // of a branch, or of a value on pages of its own
  std::uint32_t large_bytes = 0;  // not 0: the value is on pages of its own
  bool unreadable = false;        // its offset points into the head of the page
};

class MadeFile {
 public:
  explicit MadeFile(std::size_t pages) : bytes_(pages * kPage, '\0') {}

  template <typename T>
  void set(std::size_t at, T value) {
    REQUIRE(at + sizeof value <= bytes_.size());
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  void head(std::size_t page, std::uint64_t transaction, std::uint64_t free_list, std::uint64_t tables) {
    const std::size_t at = page * kPage;
    set(at + 16, std::uint32_t{0xBEEFC0DE});
    set(at + 20, std::uint32_t{1});
    set(at + 40, std::uint32_t{kPage});
    set(at + 80, free_list);
    set(at + 128, tables);
    set(at + 136, std::uint64_t{bytes_.size() / kPage - 1});
    set(at + 144, transaction);
  }
  void tree_page(std::size_t page, std::uint16_t kind, const std::vector<Entry>& entries) {
    const std::size_t at = page * kPage;
    std::size_t end = kPage, offset = 16;
    for (const Entry& entry : entries) {
      std::string node(8, '\0');
      const auto put = [&](std::size_t place, std::uint64_t value) {
        const auto low = static_cast<std::uint16_t>(value);
        std::memcpy(node.data() + place, &low, sizeof low);
      };
      const bool large = entry.large_bytes != 0;
      const std::uint64_t size = kind == kBranch ? entry.child
                                 : large         ? entry.large_bytes
                                                 : entry.value.size();
      put(0, size);
      put(2, size >> 16);
      put(4, kind == kBranch ? size >> 32 : large ? 1 : 0);
      put(6, entry.key.size());
      node += entry.key;
      if (large) node.append(reinterpret_cast<const char*>(&entry.child), sizeof entry.child);
      if (kind == kLeaf && !large) node += entry.value;
      end = (end - node.size()) & ~std::size_t{1};
      std::memcpy(bytes_.data() + at + end, node.data(), node.size());
      set(at + offset, static_cast<std::uint16_t>(entry.unreadable ? 3 : end));
      offset += 2;
    }
    set(at + 10, kind);
    set(at + 12, static_cast<std::uint16_t>(offset));
    set(at + 14, static_cast<std::uint16_t>(end));
  }
  // Opened; what is written afterwards changes under its reader.
  [[nodiscard]] PageFile open() const {
    std::ofstream(path(), std::ios::binary) << bytes_;
    return PageFile(path());
  }
  void write_again() const { std::ofstream(path(), std::ios::binary) << bytes_; }
  void cut_to(std::size_t pages) const { std::filesystem::resize_file(path(), pages * kPage); }

 private:
  [[nodiscard]] std::string path() const { return place_.path() + "/file"; }
  TemporaryDirectory place_;
  std::string bytes_;
};

struct Walked {
  std::string rows, lost;
};
Walked walk(PageFile* file, std::uint64_t root) {
  Walked found;
  file->walk(
      root, [&](const StoredRow& row) { found.rows += std::string(row.key) + " "; },
      [&](const LostKeys& lost) { found.lost += lost.from + ".." + lost.below + ": " + lost.why + "\n"; });
  return found;
}
std::string list_of(std::initializer_list<std::uint64_t> numbers) {
  std::string bytes;
  for (const std::uint64_t number : numbers)
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
  return bytes;
}
std::string tree(std::uint64_t root) { return std::string(40, '\0') + list_of({root}); }

TEST_CASE("a tree without an end is given up, and what lies before it is read") {
  constexpr std::size_t kDeep = 80;
  MadeFile file(kDeep + 3);
  file.head(0, 1, kNothing, kNothing);
  for (std::size_t page = 2; page < kDeep + 2; ++page)
    file.tree_page(page, kBranch, {{.key = "", .child = page + 1}});
  file.tree_page(kDeep + 2, kLeaf, {{.key = "deep", .value = "x"}});
  PageFile pages = file.open();
  CHECK(walk(&pages, 0).lost.empty());
  CHECK(walk(&pages, 2).lost == "..: the tree is too deep\n");
  CHECK(walk(&pages, 60).lost == "..: another part of the file refers to it as well\n");
}

TEST_CASE("a large value that lies nowhere costs its own key") {
  MadeFile file(8);
  file.head(0, 1, kNothing, kNothing);
  file.tree_page(2, kLeaf,
                 {{.key = "a", .value = "small"},
                  {.key = "b", .child = 1, .large_bytes = 5'000},
                  {.key = "c", .child = 7, .large_bytes = 5'000},
                  {.key = "d", .child = 3, .large_bytes = 60'000},
                  {.key = "e", .child = 3, .large_bytes = 0xFFFFFFFF},
                  {.key = "f", .child = kNothing, .large_bytes = 5'000},
                  {.key = "g", .child = 3, .large_bytes = 5'000},
                  {.key = "h", .unreadable = true},
                  {.key = "i", .unreadable = true},
                  {.key = "j", .value = "small"},
                  {.key = "k", .unreadable = true}});
  PageFile pages = file.open();
  const Walked found = walk(&pages, 2);
  CHECK(found.rows == "a g j ");
  const std::string large = ": the pages of a large value cannot be read\n";
  CHECK(found.lost == "b..c" + large + "c..d" + large + "d..e" + large + "e..f" + large + "f..g" + large +
                          "g..j: an entry makes no sense\n" + "g..j: an entry makes no sense\n" +
                          "j..: an entry makes no sense\n");
  REQUIRE(pages.row_at({2, 6}).has_value());
  CHECK(pages.row_at({2, 6})->stored.size() == 5'000);
  CHECK_FALSE(pages.row_at({2, 1}).has_value());
  CHECK_FALSE(pages.row_at({2, 7}).has_value());
  CHECK_FALSE(pages.row_at({2, 11}).has_value());
  file.cut_to(3);
  CHECK_FALSE(pages.row_at({2, 6}).has_value());
}

TEST_CASE("pages that change or go away between two reads are not there any more") {
  MadeFile file(6);
  file.head(0, 1, kNothing, kNothing);
  file.tree_page(2, kBranch, {{.key = "", .child = 3}, {.key = "m", .child = 4}});
  file.tree_page(3, kLeaf, {{.key = "a", .value = "x"}});
  file.tree_page(4, kLeaf, {{.key = "m", .value = "x"}});
  file.tree_page(5, kLeaf, {{.key = "z", .value = "x"}});
  PageFile pages = file.open();
  REQUIRE(walk(&pages, 2).rows == "a m ");
  REQUIRE(pages.row_at({3, 0}).has_value());
  CHECK(pages.row_at({3, 0})->key == "a");
  file.tree_page(4, kBranch, {{.key = "m", .child = 3}});
  file.set(5 * kPage + 12, std::uint16_t{3});
  file.write_again();
  CHECK_FALSE(pages.row_at({4, 0}).has_value());
  CHECK_FALSE(pages.row_at({5, 0}).has_value());
  CHECK_FALSE(pages.row_at({1, 0}).has_value());
  CHECK_FALSE(pages.row_at({6, 0}).has_value());
  file.cut_to(3);
  CHECK_FALSE(pages.row_at({3, 0}).has_value());
  std::string orphans;
  pages.orphans([&](const StoredRow& row) { orphans += row.key; });
  CHECK(orphans.empty());
}

TEST_CASE("branches lose what is below a bad entry, from its key to the next that can be read") {
  MadeFile file(7);
  file.head(0, 1, kNothing, kNothing);
  file.tree_page(2, kBranch,
                 {{.key = "", .child = 3},
                  {.key = "h", .unreadable = true},
                  {.key = "m", .child = 4},
                  {.key = "p", .unreadable = true}});
  file.tree_page(3, kLeaf, {{.key = "a", .value = "x"}});
  file.tree_page(4, kLeaf, {{.key = "m", .value = "x"}});
  file.tree_page(5, kBranch, {{.key = "", .child = 3}});
  file.tree_page(6, kLeaf, {{.key = "of nobody", .value = "x"}});
  PageFile pages = file.open();
  const Walked found = walk(&pages, 2);
  CHECK(found.rows == "a m ");
  CHECK(found.lost ==
        "..m: an entry of the branch makes no sense\n..: an entry of the branch makes no sense\n");
  std::string orphans;
  pages.orphans([&](const StoredRow& row) { orphans += row.key; });
  CHECK(orphans == "of nobody");
}

TEST_CASE("a list of free pages that contradicts itself is not believed") {
  struct Case {
    const char* name;
    std::string list;
    bool known;
  };
  for (const Case& one : {
           Case{"two pages in falling order", list_of({2, 5, 4}), true},
           Case{"none", list_of({0}), true},
           Case{"cut", "1234567", false},
           Case{"more than it has", list_of({3, 5, 4}), false},
           Case{"in rising order", list_of({2, 4, 5}), false},
           Case{"twice the same", list_of({2, 5, 5}), false},
           Case{"a head", list_of({1, 1}), false},
           Case{"behind the end", list_of({1, 7}), false},
       }) {
    CAPTURE(std::string(one.name));
    MadeFile file(7);
    file.head(0, 1, 2, kNothing);
    file.tree_page(2, kLeaf, {{.key = "12345678", .value = one.list}});
    file.tree_page(4, kLeaf, {{.key = "a", .value = "x"}});
    PageFile pages = file.open();
    CHECK(pages.free_pages_known() == one.known);
    const bool listed = one.known && one.list.size() > 8;
    CHECK(walk(&pages, 4).lost == (listed ? "..: it is in the list of free pages\n" : ""));
  }
}

TEST_CASE("the newer head counts, and tables are known by their names and sizes") {
  for (const std::uint64_t first : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}}) {
    CAPTURE(first);
    MadeFile file(5);
    file.head(0, first, kNothing, 2);
    file.head(1, 2, kNothing, 3);
    file.tree_page(2, kLeaf,
                   {{.key = "blocks", .value = tree(kNothing)},
                    {.key = "jobs", .value = tree(4)},
                    {.key = "leases", .value = "short"},
                    {.key = "no table", .value = tree(4)}});
    file.tree_page(3, kLeaf, {{.key = "types", .value = tree(4)}});
    const PageFile pages = file.open();
    CHECK(pages.table_root(Table::jobs).has_value() == (first >= 2));
    CHECK(pages.table_root(Table::types).has_value() == (first < 2));
    if (first >= 2) {
      CHECK(pages.table_root(Table::blocks) == 0);
      CHECK(pages.table_root(Table::jobs) == 4);
      CHECK_FALSE(pages.table_root(Table::leases).has_value());
    }
  }
}

}  // namespace
}  // namespace jobq::lmdb
