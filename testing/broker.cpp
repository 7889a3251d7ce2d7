#include <exception>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "jobq/error.hpp"
#include "jobq/testing.hpp"
#include "libjobq/protocol/codec.hpp"
#include "testing/world.hpp"

namespace jobq::testing {

using nlohmann::json;

struct Broker::Inside {
  explicit Inside(const BrokerOptions& its_options)
      : options(its_options),
        world(std::make_shared<World>(options)),
        runtime(std::make_shared<Runtime>(world)) {}

  // Runs on the world's thread; what it throws is thrown here.
  void order(const std::function<void()>& what) {
    std::exception_ptr thrown;
    world->order([&] {
      try {
        what();
      } catch (...) {
        thrown = std::current_exception();
      }
    });
    if (thrown) std::rethrow_exception(thrown);
  }

  json ask(std::string_view verb, const std::vector<protocol::Param>& params) {
    json document;
    order([&] {
      const Result<std::string> answer = world->broker().ask(verb, params);
      if (!answer.ok()) throw Error(answer.status());
      document = json::from_msgpack(*answer);
    });
    return document;
  }

  JobView job(std::string_view id);

  const BrokerOptions options;
  const std::shared_ptr<World> world;
  const std::shared_ptr<Runtime> runtime;
};

namespace {

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_binary()) return {};
  return {value.get_binary().begin(), value.get_binary().end()};
}

}  // namespace

JobView Broker::Inside::job(std::string_view id) {
  const json document = ask("job.show", {{"id", id}});
  const json& job = document.at("job");
  JobView view;
  view.id = text_of(job.at("id"));
  view.queue = text_of(job.at("queue"));
  view.state = text_of(job.at("state"));
  view.type = text_of(job.value("type", json()));
  view.body = text_of(job.value("body", json()));
  view.exit = text_of(job.value("exit", json()));
  if (const json priority = job.value("priority", json()); priority.is_number())
    view.priority = priority.get<int>();
  if (const json attempt = job.value("attempt", json()); attempt.is_number())
    view.attempt = attempt.get<std::uint32_t>();
  for (const json& failed : document.value("attempts", json::array()))
    view.errors.push_back(text_of(failed.at("error")));
  return view;
}

// ---- a worker in its thread

struct RunningWorker::State {
  Worker* worker = nullptr;
  std::thread thread;
  DrainReport report;
  std::exception_ptr thrown;
  std::atomic<bool> ended{false};
};

RunningWorker::RunningWorker(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunningWorker::RunningWorker(RunningWorker&& other) noexcept = default;

RunningWorker::~RunningWorker() {
  if (!state_ || !state_->thread.joinable()) return;
  state_->worker->stop();
  state_->thread.join();
}

DrainReport RunningWorker::stop() {
  if (state_->thread.joinable()) {
    state_->worker->stop();
    state_->thread.join();
  }
  if (state_->thrown) std::rethrow_exception(std::exchange(state_->thrown, nullptr));
  return state_->report;
}

RunningWorker Broker::start(Worker& worker) {
  auto state = std::make_unique<RunningWorker::State>();
  RunningWorker::State* shared = state.get();
  state->worker = &worker;
  const std::uint64_t before = inside_->world->peers_added();
  state->thread = std::thread([shared, world = inside_->world] {
    try {
      shared->report = shared->worker->run();
    } catch (...) {
      shared->thrown = std::current_exception();
    }
    shared->ended.store(true);
    world->look_again();
  });
  while (!inside_->world->wait_for_peer(before, [shared] { return shared->ended.load(); })) {
  }
  RunningWorker running(std::move(state));
  settle();
  if (shared->ended.load() && shared->thrown) running.stop();
  return running;
}

void Broker::wait_for_workers(std::size_t count) {
  for (;;) {
    const std::uint64_t before = inside_->world->peers_added();
    settle();
    const std::size_t registered = inside_->ask("worker.ls", {}).at("workers").size();
    if (registered >= count) return;
    if (!inside_->world->wait_for_peer(before, [] { return false; })) {
      throw Error(Code::timed_out,
                  "wait_for_workers: " + std::to_string(registered) + " of " + std::to_string(count) +
                      " workers are registered, and no other has come: are they given runtime()?");
    }
  }
}

// ---- the broker

Broker::Broker(BrokerOptions options) : inside_(std::make_shared<Inside>(options)) {}

Broker::~Broker() {
  inside_->order([this] {
    inside_->world->broker().crash();
    inside_->world->unreachable(true);
  });
}

std::string Broker::endpoint() const { return "ipc://jobq-testing"; }
std::shared_ptr<Runtime> Broker::runtime() const { return inside_->runtime; }

void Broker::advance(std::chrono::milliseconds span) {
  if (span.count() < 0) throw Error(Code::bad_argument, "advance: time goes forward only");
  if (const Status status = inside_->world->advance(to_ms(span)); !status.ok()) throw Error(status);
}

void Broker::settle() { advance(std::chrono::milliseconds{0}); }

bool Broker::work_for(Context& job, std::chrono::milliseconds span) {
  return inside_->world->sleep(to_ms(span), job.stop_token());
}

WallTime Broker::now() const {
  return inside_->options.start_at +
         std::chrono::milliseconds{(inside_->world->now() - World::kBeginning).ms};
}

std::chrono::steady_clock::time_point Broker::steady_now() const {
  // As libjobq/worker/job_run.hpp has it: milliseconds of the steady clock, counted from 1.
  return std::chrono::steady_clock::time_point{std::chrono::milliseconds{inside_->world->now().ms - 1}};
}

QueueCounts Broker::queue(std::string_view name) {
  json document;
  try {
    document = inside_->ask("queue.show", {{"queue", name}});
  } catch (const Error& error) {
    if (error.code() == Code::no_such_queue) return {};
    throw;
  }
  const json& shown = document.at("queue");
  QueueCounts counts;
  counts.ready = shown.at("ready");
  counts.scheduled = shown.at("scheduled");
  counts.leased = shown.at("leased");
  counts.dead = shown.at("dead");
  counts.enqueued_total = shown.at("enqueued_total");
  counts.acked_total = shown.at("acked_total");
  counts.failed_total = shown.at("failed_total");
  counts.dead_total = shown.at("dead_total");
  counts.expired_total = shown.at("expired_total");
  counts.cancelled_total = shown.at("cancelled_total");
  counts.purged_total = shown.at("purged_total");
  counts.paused = shown.at("paused");
  return counts;
}

JobView Broker::job(std::string_view id) { return inside_->job(id); }

std::vector<JobView> Broker::dead(std::string_view queue) {
  std::vector<JobView> jobs;
  std::string after;
  do {
    std::vector<protocol::Param> params = {{"queue", queue}};
    if (!after.empty()) params.push_back({"after", std::string_view{after}});
    const json page = inside_->ask("dead.ls", params);
    for (const json& dead : page.at("jobs")) jobs.push_back(inside_->job(text_of(dead.at("id"))));
    after = text_of(page.at("next"));
  } while (!after.empty());
  return jobs;
}

void Broker::set(std::string_view queue, std::string_view setting, std::int64_t value) {
  inside_->ask("queue.set", {{"queue", queue}, {setting, value}});
}

void Broker::redrive(std::string_view queue) {
  inside_->ask("dead.redrive", {{"queue", queue}});
  settle();
}

void Broker::cancel(std::string_view id) { inside_->ask("job.cancel", {{"id", id}}); }

void Broker::refuse_enqueues(bool on) {
  inside_->order([this, on] { inside_->world->broker().refuse_enqueues(on); });
}
void Broker::delay_messages(std::chrono::milliseconds each_way) {
  inside_->order([this, each_way] { inside_->world->wire().delay(to_ms(each_way)); });
}
void Broker::lapse_leases(bool on) {
  inside_->order([this, on] { inside_->world->lapse().switch_on(on); });
}
void Broker::unreachable(bool on) {
  inside_->order([this, on] { inside_->world->unreachable(on); });
}
void Broker::crash() {
  inside_->order([this] { inside_->world->broker().crash(); });
}
void Broker::crash_after_next_commit() {
  inside_->order([this] { inside_->world->wire().fall_silent_after_next_commit(true); });
}
void Broker::restart() {
  inside_->order([this] { inside_->world->restart(); });
}
bool Broker::running() {
  bool running = false;
  inside_->order([this, &running] { running = inside_->world->broker().running(); });
  return running;
}

}  // namespace jobq::testing
