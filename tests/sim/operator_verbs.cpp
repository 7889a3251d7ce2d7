// What an operator may ask for, and how it is written down.
#include "tests/sim/cast.hpp"

namespace jobq::sim {

using faults::Event;

std::vector<SimOperator::Verb> SimOperator::verbs() const {
  const FaultMix& mix = *stage_.mix;
  return {{mix.pauses, &SimOperator::choose_pause},
          {mix.pauses, &SimOperator::choose_resume},
          {mix.cancels, &SimOperator::choose_cancel},
          {mix.redrives, &SimOperator::choose_redrive},
          {mix.purges, &SimOperator::choose_purge},
          {mix.settings, &SimOperator::choose_settings},
          {mix.retries, &SimOperator::choose_retry},
          {mix.put_offs, &SimOperator::choose_put_off},
          {mix.removals, &SimOperator::choose_removal},
          {mix.drains, &SimOperator::choose_drain},
          {mix.task_cancels, &SimOperator::choose_task_cancel},
          {mix.looks, &SimOperator::choose_look}};
}

void SimOperator::ask_something(TimeMs now) {
  Asked asked;
  Event event = happened("", faults::EventType::invoke);
  event.queue = queue_name(prng_.below(stage_.mix->queues));
  asked.call.params = {{"queue", event.queue}};
  const std::vector<Verb> all = verbs();
  std::uint64_t shares = 0;
  for (const Verb& verb : all) shares += verb.share;
  std::uint64_t choice = prng_.below(shares);
  for (const Verb& verb : all) {
    if (choice < verb.share) {
      (this->*verb.choose)(&asked, &event);
      break;
    }
    choice -= verb.share;
  }
  event.op = asked.op;
  ask(std::move(asked), std::move(event), now);
}

void SimOperator::choose_pause(Asked* asked, Event* /*event*/) {
  asked->op = "pause";
  asked->call.verb = "queue.pause";
}

void SimOperator::choose_resume(Asked* asked, Event* /*event*/) {
  asked->op = "resume";
  asked->call.verb = "queue.resume";
}

JobId SimOperator::any_job() { return JobId{ledger_->made() == 0 ? 1 : 1 + prng_.below(ledger_->made())}; }

// One in such a state, if there is one: by now most jobs have gone. Now and then whichever.
JobId SimOperator::job_in(std::initializer_list<JobState> states) {
  const JobId any = any_job();
  const std::uint64_t choice = prng_.below(states.size() + 1);
  if (choice == states.size()) return any;
  const JobId job = ledger_->some_job(states.begin()[choice], any.value);
  return job.is_set() ? job : any;
}

void SimOperator::about_job(const char* op, const char* verb, JobId job, Asked* asked, Event* event) {
  asked->op = op;
  asked->call.verb = verb;
  asked->call.params = {{"id", to_text(job)}};
  event->job = to_text(job);
  event->queue = "";
}

void SimOperator::choose_cancel(Asked* asked, Event* event) {
  about_job("cancel", "job.cancel", any_job(), asked, event);
}

void SimOperator::choose_retry(Asked* asked, Event* event) {
  about_job("retry", "job.retry", job_in({JobState::dead, JobState::scheduled}), asked, event);
}

void SimOperator::choose_put_off(Asked* asked, Event* event) {
  about_job("put_off", "job.snooze", job_in({JobState::ready, JobState::scheduled}), asked, event);
  event->delay_ms = prng_.between(1, prng_.below(4) == 0 ? 20'000 : 2'000);
  asked->call.params.push_back({"delay_ms", event->delay_ms});
}

void SimOperator::choose_redrive(Asked* asked, Event* event) {
  asked->op = "redrive";
  asked->call.verb = "dead.redrive";
  if (prng_.below(3) == 0) {
    event->limit = static_cast<std::uint64_t>(prng_.between(1, 5));
    asked->call.params.push_back({"limit", static_cast<std::int64_t>(event->limit)});
  }
  if (prng_.below(3) == 0 || stage_.mix->task_cancels > 0) {
    const bool slow = stage_.mix->task_cancels > 0 && prng_.below(3) != 0;
    event->rate = static_cast<std::uint64_t>(slow ? prng_.between(1, 5) : prng_.between(50, 500));
    asked->call.params.push_back({"rate", static_cast<std::int64_t>(event->rate)});
  }
}

void SimOperator::choose_purge(Asked* asked, Event* /*event*/) {
  asked->op = "purge";
  asked->call.verb = prng_.below(2) == 0 ? "queue.purge" : "dead.purge";
}

// As `jobq queue rm --with-jobs`: what is in it goes first.
void SimOperator::choose_removal(Asked* asked, Event* event) {
  event->queue = queue_name(stage_.mix->queues);
  asked->call.params = {{"queue", event->queue}};
  if (prng_.below(2) == 0) return choose_purge(asked, event);
  asked->op = "rm";
  asked->call.verb = "queue.rm";
}

// Of those that it saw when it looked the last time; it looks as often as it drains.
void SimOperator::choose_drain(Asked* asked, Event* event) {
  event->queue = "";
  if (sessions_.empty()) {
    asked->call.verb = "worker.ls";
    asked->call.params.clear();
    return;
  }
  event->session = sessions_[prng_.below(sessions_.size())];
  sessions_.clear();
  asked->op = "drain";
  asked->call.verb = "worker.drain";
  asked->call.params = {{"session", static_cast<std::int64_t>(event->session)}};
}

void SimOperator::choose_task_cancel(Asked* asked, Event* event) {
  if (tasks_.empty()) return choose_redrive(asked, event);
  event->queue = "";
  event->task = tasks_[prng_.below(tasks_.size())];
  asked->op = "task_cancel";
  asked->call.verb = "task.cancel";
  asked->call.params = {{"task", static_cast<std::int64_t>(event->task)}};
}

void SimOperator::choose_settings(Asked* asked, Event* /*event*/) {
  asked->op = "set";
  asked->call.verb = "queue.set";
  asked->call.params.push_back({"max_jobs", prng_.between(0, 30)});
  asked->call.params.push_back({"lease_ms", prng_.between(1'000, 20'000)});
  asked->call.params.push_back({"backoff_min_ms", prng_.between(1, 500)});
}

void SimOperator::choose_look(Asked* asked, Event* event) {
  if (prng_.below(3) == 0) {
    asked->call.verb = "stats";
    asked->call.params.clear();
  } else {
    about_job("get", "job.show", any_job(), asked, event);
  }
}

}  // namespace jobq::sim
