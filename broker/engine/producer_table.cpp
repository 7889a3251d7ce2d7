#include "broker/engine/producer_table.hpp"

#include <algorithm>
#include <utility>

#include "libjobq/base/check.hpp"

namespace jobq {

namespace {

constexpr std::size_t kRefusedResultsMax = 100'000;
constexpr std::size_t kSpareMax = 4'096;

}  // namespace

const change::ProducerAnswer* RefusedRequests::find(const ProducerId& producer,
                                                    std::uint64_t sequence) const {
  if (answers_.empty()) return nullptr;
  const auto found = answers_.find({producer, sequence});
  return found == answers_.end() ? nullptr : &found->second;
}

void RefusedRequests::remember(const ProducerId& producer, change::ProducerAnswer answer) {
  const Name name{producer, answer.sequence};
  const std::size_t results = answer.results.size();
  if (!answers_.emplace(name, std::move(answer)).second) return;
  by_age_.push_back(name);
  results_ += results;
  while (results_ > kRefusedResultsMax && by_age_.size() > 1) {
    const auto oldest = answers_.find(by_age_.front());
    results_ -= oldest->second.results.size();
    answers_.erase(oldest);
    by_age_.pop_front();
  }
}

Producer* ProducerTable::find(const ProducerId& id) {
  const auto found = producers_.find(id);
  return found == producers_.end() ? nullptr : &found->second;
}

Producer* ProducerTable::insert(const ProducerId& id, TimeMs now) {
  const auto [place, fresh] = producers_.try_emplace(id);
  JOBQ_CHECK(fresh);
  place->second.id = id;
  place->second.seen_at = now;
  place->second.by_age = by_age_.insert(by_age_.end(), id);
  return &place->second;
}

void ProducerTable::seen(Producer* producer, TimeMs now) {
  producer->seen_at = now;
  by_age_.splice(by_age_.end(), by_age_, producer->by_age);
}

void ProducerTable::close_below(Producer* producer, std::uint64_t lowest_open) {
  producer->lowest_open = std::max(producer->lowest_open, lowest_open);
  auto& answers = producer->answers;
  const auto end = answers.lower_bound(producer->lowest_open);
  open_requests_ -= static_cast<std::size_t>(std::distance(answers.begin(), end));
  while (answers.begin() != end) {
    auto closed = answers.extract(answers.begin());
    if (spare_.size() < kSpareMax) spare_.push_back(std::move(closed));
  }
}

void ProducerTable::remember(Producer* producer, change::ProducerAnswer answer) {
  const auto sequence = answer.sequence;
  auto& answers = producer->answers;
  if (spare_.empty()) {
    if (answers.emplace(sequence, std::move(answer)).second) ++open_requests_;
    return;
  }
  auto entry = std::move(spare_.back());
  spare_.pop_back();
  entry.key() = sequence;
  entry.mapped() = std::move(answer);
  // Nearly always the newest.
  const std::size_t before = answers.size();
  answers.insert(answers.end(), std::move(entry));
  open_requests_ += answers.size() - before;
}

void ProducerTable::erase(Producer* producer) {
  open_requests_ -= producer->answers.size();
  by_age_.erase(producer->by_age);
  producers_.erase(ProducerId{producer->id});  // A copy: the key goes with the entry.
}

Producer* ProducerTable::oldest() { return by_age_.empty() ? nullptr : find(by_age_.front()); }

}  // namespace jobq
