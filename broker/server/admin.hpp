// Administration: verbs become commands of the engine or are answered from what engine, store and transport show; the
// answers become the documents that docs/protocol.md lists and `--json` prints.
//
// Not thread-safe; used by the server's loop. Reads are answered after the turn's commit and cost at most O(queues) or
// one bounded page of the store.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/config.hpp"
#include "broker/engine/engine.hpp"
#include "broker/net/transport.hpp"
#include "broker/server/backup_desk.hpp"
#include "broker/server/clock.hpp"
#include "broker/server/event_ring.hpp"
#include "broker/server/rates.hpp"
#include "broker/store/store.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

// The feature bits of those that have greeted.
using PeerFeatures = std::unordered_map<std::uint64_t, std::uint64_t>;

// What the documents are made from. Outlives the desk.
struct AdminSources {
  const Config* config;
  Store* store;
  const Engine* engine;
  const Transport* transport;
  const ServerClock* clock;
  const Rates* rates;
  const Admission* admission;
  const std::uint64_t* turns;
  const PeerFeatures* features;
  EventRing* events;
  protocol::Incarnation incarnation{};
  TimeMs started_at{};  // engine clock
};

class AdminDesk {
 public:
  explicit AdminDesk(const AdminSources& sources)
      : sources_(sources), backups_(sources_.config, sources_.store) {}

  // What the verb asks of the engine; nullopt: a read, to be answered by answer(). unknown_verb, bad_argument.
  // Views in the command point into the message.
  Result<std::optional<CommandBody>> command_for(const protocol::Admin& admin) const;

  // REQUIRES: command_for() took it for a read.
  Result<std::string> answer(const protocol::Admin& admin, const Now& now);

  // The engine's answer to a command, as a document.
  std::string document(const AdminAnswer& answer, const Now& now) const;

 private:
  // What engine and store know of a job that has not left.
  struct KnownJob {
    JobFact fact;
    std::optional<LeaseView> lease;
    std::optional<DeadJob> dead;
    std::vector<AttemptRecord> attempts;
    std::uint32_t max_attempts = 0;
  };

  nlohmann::ordered_json stats(std::optional<std::string_view> queue, const Now& now) const;
  Result<nlohmann::ordered_json> queue_show(std::string_view name, const Now& now) const;
  Result<KnownJob> look_at(JobId id, const Now& now) const;
  Result<nlohmann::ordered_json> left_job(JobId id, const Now& now) const;
  Result<nlohmann::ordered_json> job_show(JobId id, const Now& now) const;
  Result<nlohmann::ordered_json> job_why(JobId id, const Now& now) const;
  // admin_why.cpp: why it is not running, the main reason first.
  nlohmann::ordered_json why(const KnownJob& job, const Now& now) const;
  void add_waiting_reasons(const JobMeta& meta, bool ready, const Now& now,
                           nlohmann::ordered_json* reasons) const;
  // admin_dead.cpp
  Result<std::vector<DeadJob>> find_dead(const protocol::Admin& admin, std::size_t bytes_max, const Now& now,
                                         std::optional<JobId>* next) const;
  Result<nlohmann::ordered_json> dead_ls(const protocol::Admin& admin, const Now& now) const;
  Result<nlohmann::ordered_json> dead_export(const protocol::Admin& admin, const Now& now) const;
  Result<nlohmann::ordered_json> task_ls(const protocol::Admin& admin) const;
  nlohmann::ordered_json task_row(const TaskReply& task) const;
  nlohmann::ordered_json worker_row(const SessionView& view) const;
  nlohmann::ordered_json worker_ls(const Now& now) const;
  Result<nlohmann::ordered_json> worker_show(SessionNo session, const Now& now) const;
  [[nodiscard]] bool drains_on_request(const SessionView& view) const;
  // admin_events.cpp
  Result<nlohmann::ordered_json> events(const protocol::Admin& admin, const Now& now);
  nlohmann::ordered_json event_row(const JobEvent& event) const;
  nlohmann::ordered_json queue_row(const QueueView& view, const QueueRates& rates) const;
  nlohmann::ordered_json broker_row(const Now& now) const;
  nlohmann::ordered_json finished_job(JobId id, const FinishedView& finished,
                                      const std::string& finished_by) const;

  AdminSources sources_;
  BackupDesk backups_;
};

}  // namespace jobq
