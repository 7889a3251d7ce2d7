// The parent's side: starts the child that reads, and passes on what it says.
//
// Frames on the pipe: kind:char length:u32 bytes. 'L' a line, 'C' the counts (the last frame of a whole run), 'E' an
// error (code:u16 problem:u8 text).
#include "broker/store/check_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_checker.hpp"
#include "broker/store/store_files.hpp"

namespace jobq {
namespace {

using lmdb::ByteReader;
using lmdb::ByteWriter;
using lmdb::Fd;
using lmdb::StoreError;

enum class Frame : char { line = 'L', counts = 'C', error = 'E' };
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

// Writes frames, gathered into large pieces. A parent that has gone away ends the child.
class FrameWriter {
 public:
  explicit FrameWriter(int fd) : fd_(fd) {}
  void write(Frame frame, std::string_view bytes) {
    buffer_.push_back(static_cast<char>(frame));
    put_big_endian(&buffer_, static_cast<std::uint32_t>(bytes.size()));
    buffer_.append(bytes);
    if (buffer_.size() >= kBufferBytes) flush();
  }
  void flush() {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      const ssize_t wrote = ::write(fd_, rest.data(), rest.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) _exit(1);
      rest.remove_prefix(static_cast<std::size_t>(wrote));
    }
    buffer_.clear();
  }

 private:
  int fd_;
  std::string buffer_;
};

// A broker that has the store open may change it under us; and none may open it while we read.
Fd share_lock(const std::string& directory) {
  const std::string file = fmt::format("{}/{}", directory, lmdb::kLockFile);
  Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.open() || flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return fd;
  std::array<char, 32> text{};
  const ssize_t got = pread(fd.get(), text.data(), text.size() - 1, 0);
  const std::string pid(text.data(), got > 1 ? static_cast<std::size_t>(got) - 1 : 0);
  throw StoreError(Code::io_error, StoreProblem::already_open,
                   fmt::format("{} is in use by process {}; ask the broker, or stop it first", directory,
                               pid.empty() ? std::string("(pid unknown)") : pid));
}

// In the child.
void read_store(const CheckOptions& options, FrameWriter* out) {
  struct stat found {};
  if (stat(options.path.c_str(), &found) != 0) {
    throw StoreError(Code::io_error, StoreProblem::io,
                     fmt::format("cannot look at {}: {}", options.path, std::strerror(errno)));
  }
  const bool directory = S_ISDIR(found.st_mode);
  const Fd lock = directory ? share_lock(options.path) : Fd();
  const std::string file = directory ? lmdb::data_file(options.path) : options.path;
  lmdb::Env env(file, std::uint64_t{1} << 40, lmdb::Env::Mode::read_only);
  lmdb::require_format(&env, file);
  const CheckSink pass_on = [&](std::string_view line) { out->write(Frame::line, line); };
  const CheckCounts counts = lmdb::StoreChecker(&env, options.dump, pass_on).run();
  std::string row;
  ByteWriter(&row)
      .number(counts.jobs)
      .number(counts.ready)
      .number(counts.scheduled)
      .number(counts.leased)
      .number(counts.dead)
      .number(counts.awaiting_sweep)
      .number(counts.queues)
      .number(counts.problems);
  out->write(Frame::counts, row);
}

[[noreturn]] void run_child(const CheckOptions& options, int fd, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  FrameWriter out(fd);
  try {
    read_store(options, &out);
  } catch (const StoreError& error) {
    std::string row;
    ByteWriter(&row)
        .fixed(static_cast<std::uint16_t>(error.status().code()))
        .fixed(static_cast<std::uint8_t>(error.problem()))
        .raw(error.status().text());
    out.write(Frame::error, row);
  }
  out.flush();
  _exit(0);
}

struct Heard {
  bool whole = false;
  Status status;
  StoreProblem problem = StoreProblem::none;
};

void hear_frame(char kind, std::string_view bytes, const CheckSink& sink, CheckCounts* counts, Heard* heard) {
  ByteReader reader(bytes);
  if (kind == static_cast<char>(Frame::line)) {
    sink(bytes);
  } else if (kind == static_cast<char>(Frame::counts)) {
    for (std::uint64_t* count :
         {&counts->jobs, &counts->ready, &counts->scheduled, &counts->leased, &counts->dead,
          &counts->awaiting_sweep, &counts->queues, &counts->problems}) {
      *count = reader.number();
    }
    heard->whole = true;
  } else {
    const auto code = static_cast<Code>(reader.fixed<std::uint16_t>());
    heard->problem = static_cast<StoreProblem>(reader.fixed<std::uint8_t>());
    heard->status = Status(code, std::string(reader.rest()));
  }
}

Heard hear_child(int fd, const CheckSink& sink, CheckCounts* counts) {
  constexpr std::size_t kHeadBytes = 5;
  Heard heard;
  std::string buffer;
  std::array<char, kBufferBytes> piece;
  for (;;) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return heard;
    buffer.append(piece.data(), static_cast<std::size_t>(got));
    std::string_view rest = buffer;
    while (rest.size() >= kHeadBytes) {
      const std::size_t length = get_big_endian<std::uint32_t>(rest.data() + 1);
      if (rest.size() < kHeadBytes + length) break;
      hear_frame(rest[0], rest.substr(kHeadBytes, length), sink, counts, &heard);
      rest.remove_prefix(kHeadBytes + length);
    }
    buffer.erase(0, buffer.size() - rest.size());
  }
}

}  // namespace

Status check_store(const CheckOptions& options, const CheckSink& sink, CheckCounts* counts,
                   StoreProblem* problem) {
  StoreProblem ignored = StoreProblem::none;
  StoreProblem& why = problem != nullptr ? *problem : ignored;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    why = StoreProblem::io;
    return {Code::io_error, fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  }
  const Fd from_child(ends[0]);
  Fd to_parent(ends[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    why = StoreProblem::io;
    return {Code::io_error, fmt::format("cannot start the reading process: {}", std::strerror(errno))};
  }
  if (child == 0) run_child(options, to_parent.get(), parent);
  to_parent = Fd();
  Heard heard = hear_child(from_child.get(), sink, counts);
  int ended = 0;
  while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
  }
  why = heard.problem;
  if (!heard.status.ok() || heard.whole) return heard.status;
  why = StoreProblem::damaged;
  return {
      Code::corruption,
      fmt::format(
          "reading {} ended by signal {} after the lines above: a page of the file is damaged; restore it "
          "from a backup",
          options.path, WIFSIGNALED(ended) ? WTERMSIG(ended) : 0)};
}

}  // namespace jobq
