#include "libjobq/client/encoded_groups.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/protocol/enqueue_bytes.hpp"

namespace jobq {

static_assert(protocol::kEnqueueHeadMost <= 64);

// Grows by half at least: exactly what the next group needs would move everything for each.
void EncodedGroups::make_room(std::size_t more) {
  JOBQ_CHECK(!framed_, "groups were sent already");
  if (!shared_) {
    shared_ = std::make_shared<SharedBytes>();
    shared_->bytes.reserve(std::max<std::size_t>(kRoom + more, 512));
    shared_->bytes.resize(kRoom);
  }
  std::string& bytes = shared_->bytes;
  const std::size_t needed = bytes.size() + more;
  if (needed > bytes.capacity()) bytes.reserve(std::max(needed, bytes.capacity() * 3 / 2));
}

void EncodedGroups::begin(std::string_view queue, std::size_t jobs, std::size_t bytes_about) {
  make_room(bytes_about);
  begun_at_ = shared_->bytes.size();
  jobs_of_group_ = static_cast<std::uint32_t>(jobs);
  protocol::append_group_head(queue, jobs, &shared_->bytes);
}

void EncodedGroups::add(const protocol::EnqueueJob& job) { protocol::append_job(job, &shared_->bytes); }

void EncodedGroups::end(std::uint64_t token, TimeMs deadline, DurationMs timeout) {
  Group& group = groups_.emplace_back();
  group.token = token;
  group.bytes = shared_->bytes.size() - begun_at_;
  group.jobs = jobs_of_group_;
  group.deadline = deadline;
  group.timeout = timeout;
  jobs_ += jobs_of_group_;
}

std::size_t EncodedGroups::append(const EncodedGroups& other, std::size_t first, std::size_t count,
                                  std::size_t offset) {
  std::size_t bytes = 0;
  for (std::size_t i = first; i < first + count; ++i) {
    bytes += other.groups_[i].bytes;
    jobs_ += other.groups_[i].jobs;
  }
  make_room(bytes);
  shared_->bytes.append(other.shared_->bytes, kRoom + offset, bytes);
  const auto begin = other.groups_.begin() + static_cast<std::ptrdiff_t>(first);
  groups_.insert(groups_.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
  return bytes;
}

void EncodedGroups::clear() {
  groups_.clear();
  jobs_ = 0;
  if (framed_ && (shared_.use_count() > 1 || !shared_->unread())) shared_.reset();
  if (shared_) shared_->bytes.resize(kRoom);
  framed_ = false;
}

Frame EncodedGroups::frame(std::string_view head) {
  JOBQ_CHECK(head.size() <= kRoom, "a head of {} bytes", head.size());
  if (framed_) {
    auto copy = std::make_shared<SharedBytes>();
    copy->bytes = shared_->bytes;
    shared_ = std::move(copy);
  }
  framed_ = true;
  shared_->bytes.replace(kRoom - head.size(), head.size(), head);
  return {shared_, kRoom - head.size()};
}

}  // namespace jobq
