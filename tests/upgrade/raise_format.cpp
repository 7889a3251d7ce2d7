// Makes a store look as if a newer jobq had written it: raise_format DIR VERSION. For upgrade_test.py; the broker must not
// have the store open.
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/rows.hpp"
#include "broker/store/store_files.hpp"

int main(int argc, char** argv) try {
  std::uint32_t version = 0;
  if (argc != 3 || std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), version).ec != std::errc{}) {
    std::fprintf(stderr, "usage: raise_format DIR VERSION\n");
    return 64;
  }
  using namespace jobq::lmdb;
  Env env(data_file(argv[1]), std::uint64_t{64} << 20, Env::Mode::read_write);
  Txn txn(&env, Txn::Kind::write);
  std::string row;
  encode_format(version, &row);
  txn.put(Table::meta, meta_key::kFormat, row);
  txn.commit();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "raise_format: %s\n", error.what());
  return 70;
}
