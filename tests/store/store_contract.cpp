#include "tests/store/store_contract.hpp"

#include <doctest/doctest.h>

#include "tests/store/store_text.hpp"

namespace jobq {

ContractFixture::ContractFixture() : tested_(make_store_under_test()) { REQUIRE(model_.recover().ok()); }

void ContractFixture::commit() { commit(batches.take()); }

void ContractFixture::commit(const LegalBatch& batch) {
  REQUIRE(model_.submit(batch.changes, batch.mark).ok());  // first: it says what is illegal
  const Result<BatchNo> submitted = store().submit(batch.changes, batch.mark);
  REQUIRE_MESSAGE(submitted.ok(), submitted.status().text());
  const Result<BatchNo> completed = store().completed(true);
  REQUIRE_MESSAGE(completed.ok(), completed.status().text());
  REQUIRE(*completed == *submitted);
}

void ContractFixture::same(std::size_t page, JobId first_job) {
  StoreNames names = names_of(batches);
  names.first_job = first_job;
  const std::string differences = difference(text_of(&model_, names, 1'000), text_of(&store(), names, page));
  REQUIRE_MESSAGE(differences.empty(), differences);
}

Recovered ContractFixture::reopen() {
  model_.restart();
  const Result<Recovered> expected = model_.recover();
  REQUIRE(expected.ok());
  Recovered found = tested_->reopen();
  const std::string differences = difference(text_of(*expected), text_of(found));
  REQUIRE_MESSAGE(differences.empty(), differences);
  return found;
}

JobFact ContractFixture::job(JobId id) {
  const Result<JobFact> fact = store().read_job(id);
  REQUIRE_MESSAGE(fact.ok(), fact.status().text());
  return *fact;
}

std::vector<std::uint64_t> ContractFixture::lane(const Lane& lane, JobId after, std::size_t page) {
  std::vector<std::uint64_t> ids;
  for (const JobMeta& meta : read_whole_lane(&store(), lane, after, page)) ids.push_back(meta.id.value);
  return ids;
}

}  // namespace jobq
