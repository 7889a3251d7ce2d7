#include "broker/engine/lease_table.hpp"

#include "libjobq/base/check.hpp"

namespace jobq {

Leased* LeaseTable::find(JobId job) {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : &found->second;
}

const Leased* LeaseTable::find(JobId job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : &found->second;
}

Leased* LeaseTable::insert(const Leased& leased, std::int64_t list) {
  const auto [place, fresh] = jobs_.emplace(leased.meta.id, leased);
  JOBQ_CHECK(fresh, "job {} is leased twice", leased.meta.id.value);
  link(&place->second, list);
  return &place->second;
}

void LeaseTable::erase(Leased* leased) {
  unlink(leased);
  jobs_.erase(leased->meta.id);
}

void LeaseTable::move(Leased* leased, TimeMs until, std::int64_t list) {
  unlink(leased);
  leased->until = until;
  link(leased, list);
}

void LeaseTable::link(Leased* leased, std::int64_t list) {
  List& ends = lists_[list];
  leased->list = list;
  // Nearly always the end of the list; a few steps back when a setting was changed or a limit cuts a lease
  // short.
  Leased* before = ends.tail;
  while (before != nullptr && before->until > leased->until) before = before->previous;
  leased->previous = before;
  leased->next = before != nullptr ? before->next : ends.head;
  (leased->previous != nullptr ? leased->previous->next : ends.head) = leased;
  (leased->next != nullptr ? leased->next->previous : ends.tail) = leased;
}

void LeaseTable::unlink(Leased* leased) {
  const auto list = lists_.find(leased->list);
  (leased->previous != nullptr ? leased->previous->next : list->second.head) = leased->next;
  (leased->next != nullptr ? leased->next->previous : list->second.tail) = leased->previous;
  leased->previous = leased->next = nullptr;
  if (list->second.head == nullptr) lists_.erase(list);
}

Leased* LeaseTable::first_ended(TimeMs now) {
  Leased* first = nullptr;
  for (const auto& [length, list] : lists_) {
    Leased* head = list.head;
    if (head->until <= now && (first == nullptr || head->until < first->until)) first = head;
  }
  return first;
}

std::optional<TimeMs> LeaseTable::next_end() const {
  std::optional<TimeMs> end;
  for (const auto& [length, list] : lists_) {
    if (!end || list.head->until < *end) end = list.head->until;
  }
  return end;
}

}  // namespace jobq
