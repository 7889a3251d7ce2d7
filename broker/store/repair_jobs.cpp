#include "broker/store/repair_jobs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "broker/store/keys.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq::lmdb {
namespace {

JobId first_of(std::uint64_t block) { return JobId{std::max<std::uint64_t>(block * kBlockJobs, 1)}; }

}  // namespace

RepairJobs::RepairJobs(Salvage* salvage, const Now& now, JobId end, RepairReport* report, Say say)
    : salvage_(salvage), now_(now), end_(end), report_(report), say_(std::move(say)) {
  for (const auto& [key, row] : salvage_->finished) finished_.insert(decode_finished(row).job.value);
  for (const auto& [key, row] : salvage_->dead) {
    if (const auto at = parse_dead_key(key)) dead_.emplace(at->job.value, row);
  }
  for (const TimerKey& timer : salvage_->timers)
    timers_.emplace(timer.job.value, std::pair(timer.clock, timer.at));
}

bool RepairJobs::is_first_found(std::uint64_t block) const {
  const JobId first = first_of(block);
  const auto found = std::ranges::lower_bound(salvage_->jobs, first, {}, &SalvagedJob::job);
  return found != salvage_->jobs.end() && found->job == first;
}

RepairJobs::Fate RepairJobs::fate_of(JobId job, bool found_in_moved) {
  const std::uint64_t no = block_of(job);
  const std::uint8_t bit = bit_of(job);
  Fate fate;
  const auto block = salvage_->blocks.find(no);
  if (block != salvage_->blocks.end() && block->second.leased.test(bit)) {
    fate.was_leased = true;
    fate.lease_no = block->second.leases[block->second.leased.rank(bit)].lease_no;
  }
  if (block != salvage_->blocks.end() && salvage_->block_rows.contains(no)) {
    fate.state = block->second.state(bit);
    fate.gone = fate.state == JobState::gone;
    if (fate.state == JobState::leased) fate.state = JobState::ready;
    return fate;
  }
  // Without a row a block is untouched, or swept: then its first record is gone.
  if (without_row_.no != no) {
    without_row_ = {no, salvage_->may_be_lost(Table::blocks, block_key(no)),
                    is_first_found(no) || salvage_->may_be_lost(Table::jobs, job_key(first_of(no)))};
  }
  if (!without_row_.may_be_lost) {
    fate.gone = !without_row_.may_be_untouched && !found_in_moved;
    return fate;
  }
  // Its state is lost: what else tells of it?
  if (finished_.contains(job.value)) {
    fate.gone = true;
  } else if (dead_.contains(job.value)) {
    fate.state = JobState::dead;
  } else if (timers_.contains(job.value)) {
    fate.state = JobState::scheduled;
  } else {
    // A job that was moved has not finished; of others it is not known. The row of a lease stays when its job is acked.
    fate.certain = found_in_moved;
  }
  return fate;
}

std::string RepairJobs::queue_name(JobId job) const {
  if (saved_.job != job || record_.empty()) return {};
  std::string key(queue_key(saved_.decoded.meta.lane.queue));
  const auto row = salvage_->queues.find(key);
  try {
    return row == salvage_->queues.end() ? std::string() : decode_queue(row->second).name;
  } catch (const StoreError&) {
    return {};
  }
}

void RepairJobs::lost(JobId job, const std::string& text) {
  ++report_->lost;
  say_("lost", job, queue_name(job), text);
}

const SavedJob* RepairJobs::next() {
  while (next_ < salvage_->jobs.size()) {
    const std::size_t first = next_;
    while (next_ < salvage_->jobs.size() && salvage_->jobs[next_].job == salvage_->jobs[first].job) ++next_;
    if (const SavedJob* saved = save(first, next_)) return saved;
  }
  return nullptr;
}

// The one that its state says, else the other one: both are the same bytes.
bool RepairJobs::read_record(std::size_t first, std::size_t end, bool prefer_moved) {
  for (const bool moved : {prefer_moved, !prefer_moved}) {
    for (std::size_t i = first; i < end; ++i) {
      const SalvagedJob& found = salvage_->jobs[i];
      if (found.moved != moved) continue;
      const auto value = salvage_->value_at(moved ? Table::moved : Table::jobs, found.place);
      if (!value) continue;
      record_ = *value;
      const auto decoded = decode_record(found.job, record_);
      if (!decoded) continue;
      saved_.decoded = *decoded;
      saved_.record = record_;
      saved_.moved = prefer_moved;
      return true;
    }
  }
  return false;
}

bool RepairJobs::read_body() {
  saved_.parts.clear();
  if (!saved_.decoded.body_in_parts) {
    saved_.body_hash = hash64(saved_.decoded.body);
    return true;
  }
  std::string body;
  for (std::size_t part = 0; part < body_parts(saved_.decoded.body_bytes); ++part) {
    const auto at =
        salvage_->bodies.find(std::string_view(body_key(saved_.job, static_cast<std::uint16_t>(part))));
    const auto value =
        at == salvage_->bodies.end() ? std::nullopt : salvage_->value_at(Table::bodies, at->second);
    if (!value) return false;
    saved_.parts.emplace_back(*value);
    body.append(*value);
  }
  saved_.body_hash = hash64(body);
  return body.size() == saved_.decoded.body_bytes;
}

void RepairJobs::read_attempts() {
  saved_.attempts.clear();
  const auto prefix = job_key(saved_.job);
  const std::string_view begin = prefix;
  for (auto at = salvage_->attempts.lower_bound(begin);
       at != salvage_->attempts.end() && at->first.starts_with(begin); ++at) {
    const auto value = salvage_->value_at(Table::attempts, at->second);
    if (!value) continue;
    const AttemptRecord attempt = decode_attempt(*value);
    if (attempt.number > 0 &&
        std::string_view(attempt_key(saved_.job, attempt_slot(attempt.number))) == at->first)
      saved_.attempts.emplace_back(at->first, *value);
  }
}

void RepairJobs::read_progress(const Fate& fate) {
  const auto block = salvage_->blocks.find(block_of(saved_.job));
  const bool known = block != salvage_->blocks.end() && salvage_->block_rows.contains(block_of(saved_.job));
  const bool wanted =
      known ? block->second.has_progress.test(bit_of(saved_.job))
            : !fate.certain || fate.state != JobState::ready || salvage_->progress.contains(saved_.job.value);
  saved_.progress.reset();
  saved_.attempts.clear();
  if (wanted) {
    const auto at = salvage_->progress.find(saved_.job.value);
    if (at != salvage_->progress.end()) {
      if (const auto value = salvage_->value_at(Table::progress, at->second))
        saved_.progress = decode_progress(*value);
    }
    read_attempts();
    std::uint32_t newest = 0, failed = 0;
    for (const auto& [key, row] : saved_.attempts) {
      const AttemptRecord attempt = decode_attempt(row);
      newest = std::max(newest, attempt.number);
      failed +=
          attempt.outcome == AttemptOutcome::failed || attempt.outcome == AttemptOutcome::timed_out ? 1U : 0U;
    }
    if (!saved_.progress && (known || newest > 0)) {
      saved_.progress.emplace().progress.failures = failed;
      ++report_->changed;
      say_("changed", saved_.job, queue_name(saved_.job),
           "its counts are lost; failures are counted from what is left of its attempts");
    }
    if (saved_.progress && newest != saved_.progress->progress.attempts_recorded) {
      if (at != salvage_->progress.end()) {
        ++report_->changed;
        say_("changed", saved_.job, queue_name(saved_.job),
             "the history of its attempts is lost, or the end of it");
      }
      saved_.progress->progress.attempts_recorded = newest;
    }
  }
  if (!fate.was_leased) return;
  if (fate.certain) ++report_->leases_returned;
  if (!saved_.progress) saved_.progress.emplace();
  JobProgress& progress = saved_.progress->progress;
  progress.lease_no = std::max(progress.lease_no, fate.lease_no);
  progress.ready_since = now_.engine;
  saved_.progress->due = {};
}

void RepairJobs::find_due() {
  const JobMeta& meta = saved_.decoded.meta;
  saved_.due = saved_.progress ? saved_.progress->due : meta.due;
  saved_.due_clock = saved_.progress ? saved_.progress->due_clock : meta.due_clock;
  if (saved_.due.is_set()) return;
  const auto timer = timers_.find(saved_.job.value);
  std::tie(saved_.due_clock, saved_.due) =
      timer != timers_.end() ? timer->second : std::pair(Clock::engine, std::max(now_.engine, TimeMs{1}));
  if (!saved_.progress) saved_.progress.emplace();
  saved_.progress->due = saved_.due;
  saved_.progress->due_clock = saved_.due_clock;
}

const SavedJob* RepairJobs::save(std::size_t first, std::size_t end) {
  const JobId job = salvage_->jobs[first].job;
  const bool in_moved = salvage_->jobs[first].moved;
  const Fate fate = fate_of(job, in_moved);
  if (fate.gone) return nullptr;
  saved_.job = job;
  record_.clear();
  const auto block = salvage_->blocks.find(block_of(job));
  const bool moved = block != salvage_->blocks.end() && salvage_->block_rows.contains(block_of(job))
                         ? block->second.moved.test(bit_of(job))
                         : in_moved;
  if (!read_record(first, end, moved)) {
    lost(job, "its record cannot be read any more");
    return nullptr;
  }
  if (!read_body()) {
    lost(job, "a part of its body is damaged or missing");
    return nullptr;
  }
  saved_.state = fate.state;
  saved_.due = {};
  if (saved_.decoded.meta.has_unique_key) {
    const auto [held, fresh] =
        keys_.emplace(std::pair(saved_.decoded.meta.lane.queue, std::string(saved_.decoded.unique_key)), job);
    if (!fresh) {
      lost(job, fmt::format("its unique key is held by job {}, which was saved", to_text(held->second)));
      return nullptr;
    }
  }
  read_progress(fate);
  if (saved_.state == JobState::scheduled) find_due();
  saved_.dead_row.clear();
  if (saved_.state == JobState::dead) {
    if (const auto row = dead_.find(job.value); row != dead_.end()) saved_.dead_row = row->second;
  }
  if (!fate.certain) {
    ++report_->uncertain;
    say_("uncertain", job, queue_name(job),
         "its state is lost: it is ready in the new store, and may have finished before");
  }
  return &saved_;
}

void RepairJobs::report_missing() {
  saved_.job = {};
  const std::uint64_t end = end_.value;
  const auto was_found = [&](JobId job) {
    const auto found = std::ranges::lower_bound(salvage_->jobs, job, {}, &SalvagedJob::job);
    return found != salvage_->jobs.end() && found->job == job;
  };
  const auto report_block = [&](std::uint64_t no, const BlockState* state) {
    for (unsigned bit = 0; bit < kBlockJobs; ++bit) {
      const JobId job{no * kBlockJobs + bit};
      if (!job.is_set() || job.value >= end || was_found(job)) continue;
      const JobState was = state != nullptr ? state->state(static_cast<std::uint8_t>(bit)) : JobState::ready;
      if (was != JobState::gone)
        lost(job, fmt::format("it was {}, and its record is lost or damaged", to_string(was)));
    }
  };
  for (const std::uint64_t no :
       std::set<std::uint64_t>(salvage_->block_rows.begin(), salvage_->block_rows.end()))
    report_block(no, &salvage_->blocks.at(no));
  // Blocks of which only records tell: untouched ones.
  std::unordered_set<std::uint64_t> told(salvage_->block_rows);
  std::uint64_t last = ~std::uint64_t{0};
  for (const SalvagedJob& found : salvage_->jobs) {
    const std::uint64_t no = block_of(found.job);
    if (found.moved || no == last || salvage_->block_rows.contains(no)) continue;
    last = no;
    if (salvage_->may_be_lost(Table::blocks, block_key(no))) continue;  // what is not here may have finished
    told.insert(no);
    report_block(no, nullptr);
  }
  for (const Table table : {Table::jobs, Table::moved}) {
    for (const LostKeys& range : salvage_->lost(table)) {
      JobId from = parse_job_key(range.from).value_or(JobId{1});
      if (was_found(from)) ++from.value;  // it is here: what may be lost begins behind it
      const JobId below = range.below.empty() ? JobId{end} : parse_job_key(range.below).value_or(JobId{end});
      if (from < below) report_range(range, from, below, told);
    }
  }
}

// Of blocks that nothing tells of it is not known which jobs they held, or whether those had finished.
void RepairJobs::report_range(const LostKeys& range, JobId from, JobId below,
                              const std::unordered_set<std::uint64_t>& told) {
  std::optional<std::uint64_t> first, last;
  for (std::uint64_t no = block_of(from); no <= block_of(JobId{below.value - 1}); ++no) {
    if (told.contains(no)) continue;
    if (!first) first = no;
    last = no;
  }
  if (!first) return;
  const JobId begin{std::max(from.value, *first * kBlockJobs)};
  const JobId end{std::min(below.value - 1, *last * kBlockJobs + kBlockJobs - 1)};
  ++report_->lost_ranges;
  say_("lost_range", begin, to_text(end),
       fmt::format("page {}: {}; those of the jobs {} to {} that had not finished are lost", range.page,
                   range.why, to_text(begin), to_text(end)));
}

}  // namespace jobq::lmdb
