#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "tests/faults/rules.hpp"

namespace jobq::faults {
namespace {

bool may_have_expired(const JobStory& story, std::int64_t end) {
  const Event& asked = *story.enqueue->invoke;
  // Before its time as well: an attempt that fails, and whose retry would come too late, ends the job at once.
  return asked.expires_ms > 0 &&
         (end >= std::min(asked.t + asked.expires_ms, story.misled_at) || !story.deliveries.empty());
}

bool may_be_purged(const Stories& stories, const JobStory& story) {
  const auto purges = stories.purges.find(story.enqueue->invoke->queue);
  if (purges == stories.purges.end()) return false;
  return std::any_of(purges->second.begin(), purges->second.end(), [&](const Operation* purge) {
    return purge->possible() && purge->over_at() >= story.enqueue->asked_at();
  });
}

bool may_be_cancelled(const JobStory& story) {
  return std::any_of(story.cancels.begin(), story.cancels.end(),
                     [](const Operation* cancel) { return cancel->possible(); });
}

bool was_seen(const Stories& stories, const std::string& job) {
  const auto found = stories.jobs.find(job);
  return found != stories.jobs.end() &&
         (found->second.stored != nullptr || !found->second.deliveries.empty());
}

}  // namespace

void check_no_loss(const Stories& stories, Verdict* verdict) {
  std::map<std::string, std::vector<std::pair<const JobStory*, bool>>> by_producer;  // lost?
  for (const Operation* enqueue : stories.enqueues) {
    if (!enqueue->ok()) {
      if (!enqueue->failed()) ++verdict->unknown;
      continue;
    }
    if (enqueue->answer->duplicate) continue;
    ++verdict->confirmed;
    const auto found = stories.jobs.find(enqueue->answer->job);
    if (found == stories.jobs.end()) {
      verdict->violations.push_back({"I1", "", "an enqueue was confirmed without naming its job"});
      continue;
    }
    const JobStory& story = found->second;
    if (story.settled_by("ack", true)) ++verdict->acked;
    const bool lost = story.stored == nullptr && !story.settled_by("ack", false) &&
                      !may_be_cancelled(story) && !may_have_expired(story, stories.end) &&
                      !may_be_purged(stories, story);
    by_producer[enqueue->invoke->proc].push_back({&story, lost});
  }
  for (auto& [producer, jobs] : by_producer) {
    std::stable_sort(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) {
      return a.first->enqueue->invoke->seq < b.first->enqueue->invoke->seq;
    });
    const auto kept = [](const auto& job) { return !job.second; };
    const auto first_kept = std::find_if(jobs.begin(), jobs.end(), kept);
    const auto last_kept = std::find_if(jobs.rbegin(), jobs.rend(), kept).base();
    for (auto job = jobs.begin(); job != jobs.end(); ++job) {
      if (!job->second) continue;
      ++verdict->lost;
      const char* place = "middle";
      if (job >= last_kept) {
        place = "postfix";
        ++verdict->lost_postfix;
      } else if (job < first_kept) {
        place = "prefix";
        ++verdict->lost_prefix;
      } else {
        ++verdict->lost_middle;
      }
      verdict->violations.push_back(
          {"I1", job->first->job,
           fmt::format("lost ({} of {}): confirmed, not in the store, and never acked, cancelled, expired or "
                       "purged",
                       place, producer)});
    }
  }
}

void check_no_phantom(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    if (story.stored == nullptr && story.deliveries.empty()) continue;
    if (story.stored != nullptr) ++verdict->in_store;
    verdict->delivered += story.deliveries.size();
    if (story.deliveries.size() > 1) ++verdict->run_again;
    if (story.enqueue != nullptr) {
      if (!story.enqueue->ok()) ++verdict->recovered;
      continue;
    }
    ++verdict->phantom;
    const char* where = story.stored != nullptr ? "in the store" : "delivered";
    verdict->violations.push_back(
        {"I2", id, fmt::format("phantom: {}, and nobody enqueued it or the enqueue was refused", where)});
  }
}

void check_intact(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    if (story.enqueue == nullptr) continue;
    const Event& asked = *story.enqueue->invoke;
    for (const Event* delivery : story.deliveries) {
      if (delivery->hash != asked.hash)
        verdict->violations.push_back(
            {"I3", id, fmt::format("delivered with body {}, sent with {}", delivery->hash, asked.hash)});
      if (!delivery->queue.empty() && delivery->queue != asked.queue)
        verdict->violations.push_back(
            {"I3", id, fmt::format("delivered from queue {}, sent to {}", delivery->queue, asked.queue)});
    }
    if (story.stored == nullptr) continue;
    if (!story.stored->hash.empty() && story.stored->hash != asked.hash)
      verdict->violations.push_back(
          {"I3", id, fmt::format("stored with body {}, sent with {}", story.stored->hash, asked.hash)});
    if (story.stored->queue != asked.queue)
      verdict->violations.push_back(
          {"I3", id, fmt::format("stored in queue {}, sent to {}", story.stored->queue, asked.queue)});
    if (asked.prio >= 0 && story.stored->prio >= 0 && story.stored->prio != asked.prio)
      verdict->violations.push_back(
          {"I3", id, fmt::format("stored at priority {}, sent with {}", story.stored->prio, asked.prio)});
  }
}

void check_reasons(const Stories& stories, const CheckerOptions& options, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    if (story.stored == nullptr) continue;
    const DumpedJob& stored = *story.stored;
    if (options.drained && stored.state != "dead")
      verdict->violations.push_back({"I10", id, fmt::format("{} after the drain", stored.state)});
    if (stored.state != "dead") continue;
    if (stored.reason.empty()) verdict->violations.push_back({"I10", id, "dead without a reason"});
    const auto nacks = std::count_if(story.settles.begin(), story.settles.end(), [](const Operation* settle) {
      return settle->ok() && (settle->invoke->op == "nack" || settle->invoke->op == "reject");
    });
    if (stored.attempts >= 0 && stored.attempts < nacks)
      verdict->violations.push_back(
          {"I10", id,
           fmt::format("dead with {} attempts on record, {} were confirmed", stored.attempts, nacks)});
  }
}

// Created twice with one key: the second answer must come after a time at which the first may have ended.
void check_unique_keys(const Stories& stories, Verdict* verdict) {
  std::map<std::pair<std::string, std::string>, std::vector<const JobStory*>> by_key;
  std::map<std::pair<std::string, std::string>, std::string> stored;
  for (const auto& [id, story] : stories.jobs) {
    if (story.enqueue != nullptr && story.enqueue->ok() && !story.enqueue->invoke->key.empty())
      by_key[{story.enqueue->invoke->queue, story.enqueue->invoke->key}].push_back(&story);
    if (story.stored == nullptr || story.stored->key.empty()) continue;
    const auto [first, alone] = stored.emplace(std::pair{story.stored->queue, story.stored->key}, id);
    if (!alone)
      verdict->violations.push_back({"I11", id,
                                     fmt::format("job {} is in the store with the same unique key {}",
                                                 first->second, story.stored->key)});
  }
  for (auto& [key, jobs] : by_key) {
    std::sort(jobs.begin(), jobs.end(), [](const JobStory* a, const JobStory* b) {
      return a->enqueue->answered_at() < b->enqueue->answered_at();
    });
    for (std::size_t i = 1; i < jobs.size(); ++i) {
      const JobStory& before = *jobs[i - 1];
      if (may_be_purged(stories, before)) continue;
      if (before.enqueue->answered_at() < jobs[i]->enqueue->asked_at() &&
          jobs[i]->enqueue->answered_at() < before.may_end_at())
        verdict->violations.push_back(
            {"I11", jobs[i]->job,
             fmt::format("made with the unique key {} while job {} held it", key.second, before.job)});
    }
  }
  for (const Operation* enqueue : stories.enqueues) {
    if (!enqueue->ok() || !enqueue->answer->duplicate || enqueue->invoke->key.empty()) continue;
    const auto holder = stories.jobs.find(enqueue->answer->job);
    if (holder == stories.jobs.end() || holder->second.enqueue == nullptr) continue;
    if (holder->second.enqueue->invoke->key != enqueue->invoke->key)
      verdict->violations.push_back({"I11", holder->first,
                                     fmt::format("named as the holder of {}, but it was made with key '{}'",
                                                 enqueue->invoke->key, holder->second.enqueue->invoke->key)});
  }
}

void check_counts(const Stories& stories, const Dump& dump, Verdict* verdict) {
  std::map<std::pair<std::string, std::string>, std::uint64_t> counted;  // (queue, state)
  for (const auto& [id, job] : dump) ++counted[{job.queue, job.state}];
  std::map<std::string, const Event*> last;
  for (const Event* count : stories.counts)
    if (count->final_count) last[count->queue] = count;
  for (const auto& [queue, count] : last) {
    const std::vector<std::pair<std::string, std::uint64_t>> said{{"ready", count->ready},
                                                                  {"scheduled", count->scheduled},
                                                                  {"leased", count->leased},
                                                                  {"dead", count->dead}};
    for (const auto& [state, number] : said)
      if (counted[{queue, state}] != number)
        verdict->violations.push_back({"I12", "",
                                       fmt::format("queue {}: the broker said {} {}, the store has {}", queue,
                                                   number, state, counted[{queue, state}])});
  }
}

void check_idempotent(const Stories& stories, Verdict* verdict) {
  std::map<std::string, std::set<std::string>> jobs_of;  // hash -> ids
  for (const auto& [id, story] : stories.jobs) {
    if (story.stored != nullptr && !story.stored->hash.empty()) jobs_of[story.stored->hash].insert(id);
    for (const Event* delivery : story.deliveries) jobs_of[delivery->hash].insert(id);
    if (story.enqueue != nullptr) jobs_of[story.enqueue->invoke->hash].insert(id);
  }
  for (const auto& [hash, ids] : jobs_of) {
    const auto asked = stories.by_hash.find(hash);
    if (asked == stories.by_hash.end() || ids.size() <= asked->second.size()) continue;
    verdict->violations.push_back(
        {"I13", *ids.rbegin(),
         fmt::format("{} jobs with body {}, which was enqueued {} times; the other is {}", ids.size(), hash,
                     asked->second.size(), *ids.begin())});
  }
}

void check_groups(const Stories& stories, Verdict* verdict) {
  std::map<std::pair<std::string, std::string>, std::vector<const Operation*>> groups;
  for (const Operation* enqueue : stories.enqueues)
    if (!enqueue->invoke->group.empty())
      groups[{enqueue->invoke->proc, enqueue->invoke->group}].push_back(enqueue);
  std::set<std::string> seen;  // bodies
  for (const auto& [id, story] : stories.jobs)
    if (story.enqueue != nullptr && was_seen(stories, id)) seen.insert(story.enqueue->invoke->hash);
  // Of an enqueue that was never answered, and cancelled before anybody saw its body.
  const auto cancelled_unseen =
      static_cast<std::size_t>(std::ranges::count_if(stories.jobs, [](const auto& entry) {
        const JobStory& story = entry.second;
        return story.enqueue == nullptr && story.deliveries.empty() && story.stored == nullptr &&
               std::ranges::any_of(story.cancels, &Operation::possible);
      }));
  for (const auto& [name, members] : groups) {
    std::size_t done = 0, refused = 0, found = 0;
    for (const Operation* member : members) {
      if (member->ok()) ++done;
      if (member->failed()) ++refused;
      if (seen.contains(member->invoke->hash)) ++found;
    }
    // A member that may have expired or been purged unseen says nothing.
    const bool all_visible = std::all_of(members.begin(), members.end(), [&](const Operation* member) {
      return member->invoke->expires_ms == 0 && member->invoke->key.empty() &&
             !stories.purges.contains(member->invoke->queue);
    });
    const bool torn = (done > 0 && refused > 0) || (done == 0 && refused == 0 && all_visible && found > 0 &&
                                                    found + cancelled_unseen < members.size());
    if (torn)
      verdict->violations.push_back({"I14", "",
                                     fmt::format("group {} of {}: {} of {} jobs were made", name.second,
                                                 name.first, std::max(done, found), members.size())});
  }
}

void check_reads(const Stories& stories, Verdict* verdict) {
  for (const auto& [id, story] : stories.jobs) {
    if (story.enqueue == nullptr || !story.enqueue->ok() || may_be_purged(stories, story)) continue;
    for (const Operation* get : story.gets)
      if (get->failed() && get->asked_at() > story.enqueue->answered_at() &&
          get->answered_at() < story.may_end_at())
        verdict->violations.push_back(
            {"I16", id, fmt::format("confirmed, then not found: {}", get->answer->err)});
  }
}

}  // namespace jobq::faults
