// LmdbStore passes the contract of every store.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "tests/store/lmdb_under_test.hpp"

namespace jobq {

std::unique_ptr<StoreUnderTest> make_store_under_test() { return std::make_unique<LmdbUnderTest>(); }

}  // namespace jobq
