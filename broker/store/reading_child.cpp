// Frames on the pipe: kind:char length:u32 bytes. 'L' a line, 'R' the result (the last frame of a whole run), 'E' an error
// (code:u16 problem:u8 text).
#include "broker/store/reading_child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "broker/store/bytes_io.hpp"
#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_files.hpp"

namespace jobq {
namespace {

using lmdb::ByteReader;
using lmdb::ByteWriter;
using lmdb::Fd;
using lmdb::StoreError;

enum class Frame : char { line = 'L', result = 'R', error = 'E' };
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;
constexpr int kTickMs = 200;

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

[[noreturn]] void run_child(const std::function<std::string(const LineSink&)>& work, int fd, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  FrameWriter out(fd);
  try {
    out.write(Frame::result, work([&](std::string_view line) { out.write(Frame::line, line); }));
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

void hear_frame(char kind, std::string_view bytes, const LineSink& line, ChildEnd* end) {
  if (kind == static_cast<char>(Frame::line)) {
    line(bytes);
  } else if (kind == static_cast<char>(Frame::result)) {
    end->result = bytes;
    end->whole = true;
  } else {
    ByteReader reader(bytes);
    const auto code = static_cast<Code>(reader.fixed<std::uint16_t>());
    end->problem = static_cast<StoreProblem>(reader.fixed<std::uint8_t>());
    end->status = Status(code, std::string(reader.rest()));
  }
}

// Until the child closes its end. False: go_on does not want to.
bool hear_child(int fd, const LineSink& line, const std::function<bool()>& go_on, ChildEnd* end) {
  constexpr std::size_t kHeadBytes = 5;
  std::string buffer;
  std::array<char, kBufferBytes> piece;
  for (;;) {
    if (go_on) {
      pollfd waiting{fd, POLLIN, 0};
      const int ready = ::poll(&waiting, 1, kTickMs);
      if (ready <= 0) {
        if (!go_on()) return false;
        continue;
      }
    }
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    buffer.append(piece.data(), static_cast<std::size_t>(got));
    std::string_view rest = buffer;
    while (rest.size() >= kHeadBytes) {
      const std::size_t length = get_big_endian<std::uint32_t>(rest.data() + 1);
      if (rest.size() < kHeadBytes + length) break;
      hear_frame(rest[0], rest.substr(kHeadBytes, length), line, end);
      rest.remove_prefix(kHeadBytes + length);
    }
    buffer.erase(0, buffer.size() - rest.size());
  }
}

ChildEnd cannot(const char* doing) {
  ChildEnd end;
  end.problem = StoreProblem::io;
  end.status = {Code::io_error, fmt::format("cannot {}: {}", doing, std::strerror(errno))};
  return end;
}

}  // namespace

ChildEnd run_in_child(const std::function<std::string(const LineSink& line)>& work, const LineSink& line,
                      const std::function<bool()>& go_on) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return cannot("make a pipe");
  const Fd from_child(ends[0]);
  Fd to_parent(ends[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return cannot("start the reading process");
  if (child == 0) run_child(work, to_parent.get(), parent);
  to_parent = Fd();
  ChildEnd end;
  if (!hear_child(from_child.get(), line, go_on, &end)) {
    end = {};
    end.stopped = true;
    kill(child, SIGKILL);
  }
  int ended = 0;
  while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
  }
  if (!end.stopped && WIFSIGNALED(ended)) end.signal = WTERMSIG(ended);
  return end;
}

Status ended_from_outside(const ChildEnd& end, const std::string& doing) {
  if (end.signal == SIGKILL) {
    return {Code::io_error,
            doing +
                " was killed (signal 9), by somebody or for want of memory: give it more memory and run "
                "it again"};
  }
  if (end.signal == 0) return {Code::io_error, doing + " ended before it was done: run it again"};
  return {};
}

}  // namespace jobq
