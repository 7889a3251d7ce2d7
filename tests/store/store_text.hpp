// Everything that can be read of a store through its interface, as lines of text: two stores are the same
// when their lines are, and a difference can be read by a person.
//
// What store.hpp leaves open is left out (ready_since of a job that is not ready and has no progress row,
// progress.lease_no of a leased job). A read that fails becomes a line; a page that breaks what store.hpp
// promises of pages throws std::logic_error.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/store/store.hpp"
#include "tests/store/legal_batches.hpp"

namespace jobq {

// The names that reads need: a store has no listing of them.
struct StoreNames {
  Mark mark;
  std::set<QueueNo> queues;
  std::set<TypeNo> types;
  std::set<std::pair<QueueNo, std::string>> keys;
  JobId first_job{1};  // jobs below are not asked for one by one
};
StoreNames names_of(const LegalBatches& batches);

// page: how many rows are asked for at a time.
std::vector<std::string> text_of(Store* store, const StoreNames& names, std::size_t page);
// Without incarnation and secret.
std::vector<std::string> text_of(const Recovered& recovered);
// "" when they are the same, otherwise the first few lines that only one of them has.
std::string difference(const std::vector<std::string>& expected, const std::vector<std::string>& found);

// All ready jobs of a lane behind `after`.
std::vector<JobMeta> read_whole_lane(Store* store, const Lane& lane, JobId after, std::size_t page);

}  // namespace jobq
