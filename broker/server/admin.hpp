// Administration: verbs become commands of the engine or are answered from what engine, store and transport show; the
// answers become the documents that docs/protocol.md lists and `--json` prints.
//
// Not thread-safe; used by the server's loop. Reads are answered after the turn's commit and cost at most O(queues) or
// one bounded page of the store.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>

#include "broker/config.hpp"
#include "broker/engine/engine.hpp"
#include "broker/net/transport.hpp"
#include "broker/server/backup_desk.hpp"
#include "broker/server/clock.hpp"
#include "broker/server/rates.hpp"
#include "broker/store/store.hpp"
#include "libjobq/protocol/message.hpp"

namespace jobq {

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
  protocol::Incarnation incarnation{};
  TimeMs started_at{};  // engine clock
};

class AdminDesk {
 public:
  explicit AdminDesk(AdminSources sources)
      : sources_(std::move(sources)), backups_(sources_.config, sources_.store) {}

  // What the verb asks of the engine; nullopt: a read, to be answered by answer(). unknown_verb, bad_argument.
  // Views in the command point into the message.
  Result<std::optional<CommandBody>> command_for(PeerId peer, std::uint64_t request_id,
                                                 const protocol::Admin& admin);

  // REQUIRES: command_for() took it for a read.
  Result<std::string> answer(const protocol::Admin& admin, const Now& now);

  // The engine's answer to a command, as a document.
  std::string document(PeerId peer, std::uint64_t request_id, const AdminAnswer& answer, const Now& now);
  // The engine refused it.
  void refused(PeerId peer, std::uint64_t request_id) { cancels_.erase({peer.value, request_id}); }
  void peer_lost(PeerId peer);

 private:
  nlohmann::ordered_json stats(std::optional<std::string_view> queue, const Now& now) const;
  Result<nlohmann::ordered_json> queue_show(std::string_view name, const Now& now) const;
  Result<nlohmann::ordered_json> job_show(JobId id, const Now& now) const;
  Result<nlohmann::ordered_json> dead_ls(const protocol::Admin& admin) const;
  nlohmann::ordered_json queue_row(const QueueView& view, const QueueRates& rates) const;
  nlohmann::ordered_json broker_row(const Now& now) const;
  nlohmann::ordered_json finished_job(JobId id, const FinishedView& finished) const;

  AdminSources sources_;
  BackupDesk backups_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, JobId>
      cancels_;  // which job a cancel on its way is about
};

}  // namespace jobq
