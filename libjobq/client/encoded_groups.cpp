#include "libjobq/client/encoded_groups.hpp"

#include <algorithm>

#include "libjobq/base/check.hpp"
#include "libjobq/protocol/enqueue_bytes.hpp"

namespace jobq {

static_assert(protocol::kEnqueueHeadMost <= 64);

// Grows by half at least: exactly what the next group needs would move everything for each.
void EncodedGroups::make_room(std::size_t more) {
  JOBQ_CHECK(!framed_, "groups were sent already");
  if (!bytes_) {
    bytes_ = std::make_shared<std::string>();
    bytes_->reserve(std::max<std::size_t>(kRoom + more, 512));
    bytes_->resize(kRoom);
  }
  const std::size_t needed = bytes_->size() + more;
  if (needed > bytes_->capacity()) bytes_->reserve(std::max(needed, bytes_->capacity() * 3 / 2));
}

void EncodedGroups::begin(std::string_view queue, std::size_t jobs, std::size_t bytes_about) {
  make_room(bytes_about);
  begun_at_ = bytes_->size();
  jobs_of_group_ = static_cast<std::uint32_t>(jobs);
  protocol::append_group_head(queue, jobs, bytes_.get());
}

void EncodedGroups::add(const protocol::EnqueueJob& job) { protocol::append_job(job, bytes_.get()); }

void EncodedGroups::end(std::uint64_t token, DurationMs timeout) {
  Group& group = groups_.emplace_back();
  group.token = token;
  group.bytes = bytes_->size() - begun_at_;
  group.jobs = jobs_of_group_;
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
  bytes_->append(*other.bytes_, kRoom + offset, bytes);
  const auto begin = other.groups_.begin() + static_cast<std::ptrdiff_t>(first);
  groups_.insert(groups_.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
  return bytes;
}

void EncodedGroups::clear() {
  groups_.clear();
  jobs_ = 0;
  if (bytes_ && framed_ && (bytes_->size() >= Frame::kShareFrom || bytes_.use_count() > 1)) bytes_.reset();
  if (bytes_) bytes_->resize(kRoom);
  framed_ = false;
}

Frame EncodedGroups::frame(std::string_view head) {
  JOBQ_CHECK(head.size() <= kRoom, "a head of {} bytes", head.size());
  if (framed_) bytes_ = std::make_shared<std::string>(*bytes_);
  framed_ = true;
  bytes_->replace(kRoom - head.size(), head.size(), head);
  return {bytes_, kRoom - head.size()};
}

}  // namespace jobq
