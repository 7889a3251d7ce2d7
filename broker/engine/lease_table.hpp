// The leased jobs: all of them, in memory, found by id, and in the order in which their leases end.
//
// Ends are kept in a few intrusive lists, one per length of lease: granting and extending both move a lease
// to the end of its list, so that no heap has to be kept for what is acked long before it ends.
//
// Pointers to Leased hold until erase(). Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory_resource>
#include <optional>
#include <unordered_map>

#include "broker/engine/types.hpp"

namespace jobq {

struct Leased {
  JobMeta meta;
  LeaseNo lease_no = 0;
  SessionNo session{};
  TimeMs granted_at{};
  TimeMs until{};
  bool cancel_requested = false;
  bool orphaned = false;         // its session is lost; `until` is when that counts as a crash
  bool recovered = false;        // found at start and not claimed yet: goes back uncounted
  std::uint32_t held_index = 0;  // place in the session's list

  // Owned by LeaseTable.
  std::int64_t list = 0;
  Leased* previous = nullptr;
  Leased* next = nullptr;
};

class LeaseTable {
 public:
  // Ids are dense: left as they are, what is leased together lies together.
  struct AsItIs {
    std::size_t operator()(const JobId& job) const { return job.value; }
  };
  using Jobs = std::pmr::unordered_map<JobId, Leased, AsItIs>;

  [[nodiscard]] std::size_t size() const { return jobs_.size(); }
  [[nodiscard]] Leased* find(JobId job);
  [[nodiscard]] const Leased* find(JobId job) const;

  // REQUIRES: the job is not in the table. `list` names the length of the lease: leases of one list should
  // end in the order in which they are given.
  Leased* insert(const Leased& leased, std::int64_t list);
  void erase(Leased* leased);
  // Gives the lease another end.
  void move(Leased* leased, TimeMs until, std::int64_t list);

  // The lease that ends first, if it ends at or before now.
  [[nodiscard]] Leased* first_ended(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_end() const;

  // For invariants and views; the order is not defined: never decide by it.
  [[nodiscard]] const Jobs& all() const { return jobs_; }

 private:
  struct List {
    Leased* head = nullptr;
    Leased* tail = nullptr;
  };
  void link(Leased* leased, std::int64_t list);
  void unlink(Leased* leased);

  std::pmr::unsynchronized_pool_resource memory_;  // a lease costs no allocation in the long run
  Jobs jobs_{&memory_};
  std::map<std::int64_t, List> lists_;
};

}  // namespace jobq
