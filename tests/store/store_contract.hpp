// The contract of store.hpp as test cases that every store must pass. They stand in store_contract_*.cpp and
// are linked into one program per store, which says how its store is made:
//
//   std::unique_ptr<jobq::StoreUnderTest> jobq::make_store_under_test() { ... }
//
// Each case drives the store and MemoryStore with the same legal batches and compares all that can be read,
// besides what it expects by name.
#pragma once

#include <memory>

#include "broker/store/memory_store.hpp"
#include "broker/store/store.hpp"
#include "tests/store/legal_batches.hpp"

namespace jobq {

// One store, empty at first, recovered and ready for use.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual Store& store() = 0;
  // Closes it and opens it again, as a restarted process would, and returns what recover() found.
  virtual Recovered reopen() = 0;
};

// Defined by the program that links the suite.
std::unique_ptr<StoreUnderTest> make_store_under_test();

class ContractFixture {
 public:
  ContractFixture();

  LegalBatches batches;
  [[nodiscard]] Store& store() { return tested_->store(); }
  // Submits what `batches` has gathered to both stores and waits until it is durable.
  void commit();
  void commit(const LegalBatch& batch);
  // Compares all that can be read with MemoryStore.
  void same(std::size_t page = 100, JobId first_job = JobId{1});
  // Reopens both and compares what was found, and all that can be read.
  Recovered reopen();

  JobFact job(JobId id);
  JobState state(JobId id) { return job(id).state; }
  bool known(JobId id) { return job(id).known; }
  std::vector<std::uint64_t> lane(const Lane& lane, JobId after = {}, std::size_t page = 100);

 private:
  std::unique_ptr<StoreUnderTest> tested_;
  MemoryStore model_;
};

}  // namespace jobq
