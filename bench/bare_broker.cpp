#include <fmt/format.h>
#include <lmdb.h>
#include <zmq.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/bare_loop.hpp"
#include "libjobq/base/bytes.hpp"
#include "libjobq/base/hash.hpp"

namespace jobq::bench {
namespace {

constexpr std::uint64_t kBlock = 256;
constexpr std::size_t kJobsPerTurn = 5'000;
constexpr std::size_t kBatchesBehind = 4;  // the sweep follows so many commits later
constexpr std::size_t kRecordHead = 29, kChecksum = 8;

void must(int rc) { JOBQ_CHECK(rc == 0, "{}", mdb_strerror(rc)); }

std::string_view view_of(zmq_msg_t* message) {
  return {static_cast<const char*>(zmq_msg_data(message)), zmq_msg_size(message)};
}

class BareBroker {
 public:
  BareBroker(const BareArguments& arguments, const std::string& directory, const std::string& endpoint,
             SharedState* shared)
      : arguments_(arguments), shared_(shared) {
    must(mdb_env_create(&env_));
    must(mdb_env_set_mapsize(env_, std::size_t{1} << 38));
    must(mdb_env_set_maxdbs(env_, 8));
    must(mdb_env_open(env_, (directory + "/bare.mdb").c_str(), MDB_NOTLS | MDB_NOSUBDIR, 0600));
    MDB_txn* txn = nullptr;
    must(mdb_txn_begin(env_, nullptr, 0, &txn));
    must(mdb_dbi_open(txn, "jobs", MDB_CREATE, &jobs_));
    must(mdb_dbi_open(txn, "blocks", MDB_CREATE, &blocks_));
    must(mdb_dbi_open(txn, "leases", MDB_CREATE, &leases_));
    must(mdb_dbi_open(txn, "counters", MDB_CREATE, &counters_));
    must(mdb_txn_commit(txn));
    context_ = zmq_ctx_new();
    zmq_ctx_set(context_, ZMQ_IO_THREADS, arguments.io_threads);
    router_ = zmq_socket(context_, ZMQ_ROUTER);
    const int unlimited = 0;
    zmq_setsockopt(router_, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(router_, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    JOBQ_CHECK(zmq_bind(router_, endpoint.c_str()) == 0, "{}: {}", endpoint, zmq_strerror(errno));
  }

  [[noreturn]] void serve() {
    ++shared_->ready;
    for (;;) turn();
  }

 private:
  struct Block {
    std::uint64_t finished[4] = {0, 0, 0, 0};
    std::uint64_t leased[4] = {0, 0, 0, 0};
    unsigned left = kBlock;
    bool bits_dirty = false, leases_dirty = false;
  };
  struct Request {
    std::string peer;
    std::uint64_t first = 0;
    std::uint32_t count = 0;
  };

  void turn() {
    zmq_pollitem_t item{router_, 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, -1);
    gather();
    MDB_txn* txn = nullptr;
    must(mdb_txn_begin(env_, nullptr, 0, &txn));
    write_jobs(txn);
    lease_what_fits();
    write_blocks(txn);
    sweep(txn);
    const std::uint64_t counters[8] = {next_id_, ready_.size(), credit_, batch_, 0, 0, 0, 0};
    put(txn, counters_, 1, {reinterpret_cast<const char*>(counters), sizeof counters}, 0);
    put(txn, counters_, 2, {reinterpret_cast<const char*>(counters), sizeof counters}, 0);
    must(mdb_txn_commit(txn));
    ++shared_->commits;
    ++batch_;
    send_replies();
    deliver();
    for (zmq_msg_t& message : taken_) zmq_msg_close(&message);
    taken_.clear();
  }

  void gather() {
    std::size_t jobs = 0;
    while (jobs < kJobsPerTurn) {
      zmq_msg_t peer, frame;
      zmq_msg_init(&peer);
      if (zmq_msg_recv(&peer, router_, ZMQ_DONTWAIT) < 0) return;
      zmq_msg_init(&frame);
      zmq_msg_recv(&frame, router_, ZMQ_DONTWAIT);
      const std::string_view from = view_of(&peer);
      taken_.push_back(frame);
      Parser parser{view_of(&taken_.back())};
      const char kind = parser.kind();
      const std::uint32_t count = parser.count();
      jobs += count;
      if (kind == 'E') {
        replies_.push_back({std::string(from), next_id_, count});
        for (std::uint32_t i = 0; i < count; ++i) bodies_.push_back(parser.text());
        next_id_ += count;
      } else if (kind == 'A') {
        replies_.push_back({std::string(from), 0, count});
        for (std::uint32_t i = 0; i < count; ++i) finish(parser.number());
        credit_ += count;
      } else {
        worker_ = from;
        credit_ = parser.number();
      }
      zmq_msg_close(&peer);
    }
  }

  Block& block_of(std::uint64_t id) { return in_use_[id / kBlock]; }
  void mark(std::uint64_t id, Block* block) {
    if (!block->bits_dirty && !block->leases_dirty) dirty_.push_back(id / kBlock);
  }
  void finish(std::uint64_t id) {
    Block& block = block_of(id);
    mark(id, &block);
    block.bits_dirty = block.leases_dirty = true;
    const std::uint64_t bit = std::uint64_t{1} << (id % 64);
    block.finished[id % kBlock / 64] |= bit;
    block.leased[id % kBlock / 64] &= ~bit;
    if (--block.left == 0) complete_.push_back({id / kBlock, batch_});
  }

  static void put(MDB_txn* txn, MDB_dbi table, std::uint64_t key, std::string_view value, unsigned flags) {
    const std::uint64_t big = to_big_endian(key);
    MDB_val k{sizeof big, const_cast<std::uint64_t*>(&big)};
    MDB_val v{value.size(), const_cast<char*>(value.data())};
    must(mdb_put(txn, table, &k, &v, flags));
  }

  void write_jobs(MDB_txn* txn) {
    if (bodies_.empty()) return;
    std::uint64_t id = next_id_ - bodies_.size();
    MDB_cursor* cursor = nullptr;
    must(mdb_cursor_open(txn, jobs_, &cursor));
    for (const std::string_view body : bodies_) {
      const std::uint64_t big = to_big_endian(id);
      MDB_val k{sizeof big, const_cast<std::uint64_t*>(&big)};
      MDB_val v{kRecordHead + body.size() + kChecksum, nullptr};
      must(mdb_cursor_put(cursor, &k, &v, MDB_APPEND | MDB_RESERVE));
      char* at = static_cast<char*>(v.mv_data);
      std::memset(at, 0, kRecordHead);
      std::memcpy(at, &id, sizeof id);
      std::memcpy(at + kRecordHead, body.data(), body.size());
      const std::uint64_t sum = hash64({at, kRecordHead + body.size()}, id);
      std::memcpy(at + kRecordHead + body.size(), &sum, sizeof sum);
      ready_.push_back(id++);
    }
    mdb_cursor_close(cursor);
    bodies_.clear();
  }

  void lease_what_fits() {
    for (; credit_ > 0 && !ready_.empty(); --credit_) {
      const std::uint64_t id = ready_.front();
      ready_.pop_front();
      Block& block = block_of(id);
      mark(id, &block);
      block.leases_dirty = true;
      block.leased[id % kBlock / 64] |= std::uint64_t{1} << (id % 64);
      granted_.push_back(id);
    }
  }

  void write_blocks(MDB_txn* txn) {
    std::sort(dirty_.begin(), dirty_.end());
    for (const std::uint64_t no : dirty_) {
      Block& block = in_use_.at(no);
      if (block.bits_dirty) {
        put(txn, blocks_, no, {reinterpret_cast<const char*>(block.finished), sizeof block.finished}, 0);
      }
      if (block.leases_dirty) {  // per lease: its place in the block, session, lease_no, granted_at
        row_.assign(16, '\0');
        for (unsigned word = 0; word < 4; ++word) {
          for (std::uint64_t left = block.leased[word]; left != 0; left &= left - 1) {
            row_.push_back(static_cast<char>(word * 64 + static_cast<unsigned>(std::countr_zero(left))));
            row_.append(3, '\0');
          }
        }
        put(txn, leases_, no, row_, 0);
      }
      block.bits_dirty = block.leases_dirty = false;
    }
    dirty_.clear();
  }

  void sweep(MDB_txn* txn) {
    while (!complete_.empty() && complete_.front().second + kBatchesBehind <= batch_) {
      const std::uint64_t no = complete_.front().first;
      complete_.pop_front();
      MDB_cursor* cursor = nullptr;
      must(mdb_cursor_open(txn, jobs_, &cursor));
      const std::uint64_t first = to_big_endian(no * kBlock);
      MDB_val k{sizeof first, const_cast<std::uint64_t*>(&first)};
      MDB_val v{};
      int found = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
      for (; found == 0 && get_big_endian<std::uint64_t>(static_cast<const char*>(k.mv_data)) / kBlock == no;
           found = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        must(mdb_cursor_del(cursor, 0));
      }
      mdb_cursor_close(cursor);
      const std::uint64_t key = to_big_endian(no);
      k = {sizeof key, const_cast<std::uint64_t*>(&key)};
      mdb_del(txn, blocks_, &k, nullptr);
      mdb_del(txn, leases_, &k, nullptr);
      in_use_.erase(no);
    }
  }

  void send(const std::string& peer, std::string_view bytes) {
    zmq_send(router_, peer.data(), peer.size(), ZMQ_SNDMORE);
    zmq_send(router_, bytes.data(), bytes.size(), 0);
  }

  void send_replies() {
    for (const Request& request : replies_) {
      message_.begin('R');
      message_.number(request.first);
      message_.number(request.count);
      send(request.peer, message_.view());
    }
    replies_.clear();
  }

  void deliver() {
    if (granted_.empty()) return;
    MDB_txn* txn = nullptr;
    must(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn));
    message_.begin('D');
    for (const std::uint64_t id : granted_) {
      const std::uint64_t big = to_big_endian(id);
      MDB_val k{sizeof big, const_cast<std::uint64_t*>(&big)};
      MDB_val v{};
      must(mdb_get(txn, jobs_, &k, &v));
      const std::string_view record(static_cast<const char*>(v.mv_data), v.mv_size);
      message_.number(id);
      message_.text(record.substr(kRecordHead, record.size() - kRecordHead - kChecksum));
      message_.count_one();
      if (message_.count() == arguments_.jobs_per_delivery) {
        send(worker_, message_.view());
        message_.begin('D');
      }
    }
    if (message_.count() > 0) send(worker_, message_.view());
    mdb_txn_abort(txn);
    granted_.clear();
  }

  const BareArguments& arguments_;
  SharedState* shared_;
  MDB_env* env_ = nullptr;
  MDB_dbi jobs_ = 0, blocks_ = 0, leases_ = 0, counters_ = 0;
  void* context_ = nullptr;
  void* router_ = nullptr;
  std::uint64_t next_id_ = 1;
  std::uint64_t batch_ = 0;
  std::deque<std::uint64_t> ready_;
  std::unordered_map<std::uint64_t, Block> in_use_;
  std::vector<std::uint64_t> dirty_;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> complete_;
  std::string worker_;
  std::uint64_t credit_ = 0;
  std::deque<zmq_msg_t> taken_;
  std::vector<std::string_view> bodies_;
  std::vector<Request> replies_;
  std::vector<std::uint64_t> granted_;
  Builder message_;
  std::string row_;
};

}  // namespace

void serve_bare(const BareArguments& arguments, const std::string& directory, const std::string& endpoint,
                SharedState* shared) {
  BareBroker(arguments, directory, endpoint, shared).serve();
}

}  // namespace jobq::bench
