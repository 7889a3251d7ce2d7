#include "libjobq/protocol/enqueue_bytes.hpp"

#include "libjobq/protocol/pack_writer.hpp"
#include "libjobq/protocol/reader.hpp"

namespace jobq::protocol {
namespace {

std::uint32_t elements_of(const EnqueueJob& job) {
  if (job.unique_for.ms != 0) return 11;
  if (job.max_run_ms != 0) return 10;
  if (job.max_attempts != 0) return 9;
  if (job.expires_in.ms != 0) return 8;
  if (job.run_at.ms != 0) return 7;
  if (job.delay.ms != 0) return 6;
  if (!job.unique_key.empty()) return 5;
  if (job.priority.has_value()) return 4;
  if (!job.headers.empty()) return 3;
  return 2;
}

void write_unless_zero(PackWriter* writer, std::int64_t value) {
  if (value == 0) {
    writer->nil();
  } else {
    writer->integer(value);
  }
}

// A few values at a time, gathered here and then appended.
class Pieces {
 public:
  explicit Pieces(std::string* out) : out_(out) {}
  PackWriter* operator->() { return &writer_; }
  PackWriter* get() { return &writer_; }
  // What was written, and then these bytes.
  void append(std::string_view bytes) {
    flush();
    out_->append(bytes);
  }
  void flush() {
    out_->append(room_, static_cast<std::size_t>(writer_.at() - room_));
    writer_ = PackWriter(room_);
  }

 private:
  std::string* out_;
  char room_[8 * PackWriter::kNumberMost];
  PackWriter writer_{room_};
};

}  // namespace

void append_group_head(std::string_view queue, std::size_t jobs, std::string* out) {
  Pieces pieces(out);
  pieces->array(2);
  pieces->text(queue.size());
  pieces.append(queue);
  pieces->array(jobs);
  pieces.flush();
}

// The order and the meaning of the elements: docs/protocol.md, "enqueue".
void append_job(const EnqueueJob& job, std::string* out) {
  const std::uint32_t elements = elements_of(job);
  Pieces pieces(out);
  pieces->array(elements);
  pieces->text(job.type.size());
  if (!job.type.empty()) pieces.append(job.type);
  pieces->bytes(job.body.size());
  pieces.append(job.body);
  if (elements == 2) return;
  if (job.headers.empty()) {
    pieces->nil();
  } else {
    pieces.append(job.headers);
  }
  if (elements > 3) {
    if (job.priority.has_value()) {
      pieces->number(*job.priority);
    } else {
      pieces->nil();
    }
  }
  if (elements > 4) {
    if (job.unique_key.empty()) {
      pieces->nil();
    } else {
      pieces->text(job.unique_key.size());
      pieces.append(job.unique_key);
    }
  }
  if (elements > 5) write_unless_zero(pieces.get(), job.delay.ms);
  if (elements > 6) write_unless_zero(pieces.get(), job.run_at.ms);
  if (elements > 7) write_unless_zero(pieces.get(), job.expires_in.ms);
  if (elements > 8) write_unless_zero(pieces.get(), job.max_attempts);
  if (elements > 9) write_unless_zero(pieces.get(), job.max_run_ms);
  if (elements > 10) write_unless_zero(pieces.get(), job.unique_for.ms);
  pieces.flush();
}

std::size_t write_enqueue_head(std::uint64_t request_id, const Enqueue& message, std::size_t groups,
                               char (&room)[kEnqueueHeadMost]) {
  static_assert(kEnqueueHeadMost >= 2 + 16 + 2 + 1 + 3 * PackWriter::kNumberMost + 1 + PackWriter::kHeadMost);
  PackWriter writer(room);
  writer.array(3 + 5);
  writer.number(kWireVersion);
  writer.number(static_cast<std::uint64_t>(MessageType::enqueue));
  writer.number(request_id);
  if (message.producer == ProducerId{}) {
    writer.nil();
  } else {
    writer.bytes(message.producer.size());
    writer.raw({reinterpret_cast<const char*>(message.producer.data()), message.producer.size()});
  }
  writer.number(message.sequence);
  writer.number(message.lowest_open);
  writer.boolean(message.resend);
  writer.array(groups);
  return static_cast<std::size_t>(writer.at() - room);
}

std::string_view queue_of_group(std::string_view group) {
  Reader reader(group);
  (void)reader.array("group", 2, UINT32_MAX);
  return reader.text("queue", SIZE_MAX);
}

}  // namespace jobq::protocol
