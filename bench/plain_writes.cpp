// What the disk gives without a database: bodies appended to a file one after the other, with an fdatasync after every so
// many bytes. Measures MB/s for the rows of body sizes, and the time of one write and fdatasync for those of latency.
//
//   plain_writes --body 4096 [--sync-every BYTES] [--rate N] [--seconds S] [--json]
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "bench/measurement.hpp"
#include "libjobq/base/check.hpp"

namespace jobq::bench {
namespace {

struct Arguments {
  std::string directory = std::filesystem::temp_directory_path().string();
  std::size_t body_bytes = 256, sync_every = 1 << 20;
  double rate = 0;  // fdatasyncs per second; 0: as many as there can be
  double seconds = 3, warm_up = 1;
  bool json = false;
};

constexpr std::uint64_t kFileBytesMax = std::uint64_t{4} << 30;

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 20));
    JOBQ_CHECK(written > 0, "write: {}", strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

Row measure(const Arguments& arguments) {
  const ScratchDirectory directory(arguments.directory);
  const int fd = open((directory.path() + "/bytes").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  JOBQ_CHECK(fd >= 0, "cannot make a file in {}", directory.path());
  const std::size_t jobs_per_sync = std::max<std::size_t>(1, arguments.sync_every / arguments.body_bytes);
  const std::string bytes(jobs_per_sync * arguments.body_bytes, 'x');
  SharedState* shared = SharedState::make();
  std::uint64_t jobs = 0, size = 0, syncs = 0;
  const std::int64_t begun = now_ns();
  const auto write_once = [&] {
    const double due_s = arguments.rate > 0 ? static_cast<double>(syncs) / arguments.rate : 0;
    while (static_cast<double>(now_ns() - begun) / 1e9 < due_s)
      std::this_thread::sleep_for(std::chrono::microseconds{100});
    const std::int64_t started = now_ns();
    write_all(fd, bytes);
    JOBQ_CHECK(fdatasync(fd) == 0, "fdatasync: {}", strerror(errno));
    if (shared->measuring) shared->confirm_latency.add(now_ns() - started);
    ++syncs;
    jobs += jobs_per_sync;
    size += bytes.size();
    if (size < kFileBytesMax) return;
    JOBQ_CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    size = 0;
  };
  const auto run_for = [&](double seconds) {  // once at least
    const std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
    do write_once();
    while (now_ns() < end);
  };
  run_for(arguments.warm_up);
  Stopwatch watch(shared, getpid(), -1, -1);
  watch.begin(jobs, 0);
  const std::uint64_t syncs_before = syncs;
  run_for(arguments.seconds);
  Row row;
  watch.read(jobs, 0, &row);
  row.set_commits(syncs - syncs_before);
  row.name = "plain writes";
  row.program = "plain_writes";
  row.body_bytes = arguments.body_bytes;
  close(fd);
  return row;
}

}  // namespace
}  // namespace jobq::bench

int main(int argc, char** argv) {
  using namespace jobq::bench;
  Arguments arguments;
  CLI::App app{"plain_writes: sequential writes with fdatasync, what a disk gives without a database"};
  app.add_option("--dir", arguments.directory, "where the file lies meanwhile");
  app.add_option("--body", arguments.body_bytes)->check(CLI::Range(8, 64 << 20));
  app.add_option("--sync-every", arguments.sync_every, "bytes between two fdatasyncs");
  app.add_option("--rate", arguments.rate, "fdatasyncs per second; 0: no limit");
  app.add_option("--seconds", arguments.seconds);
  app.add_option("--warm-up", arguments.warm_up);
  app.add_flag("--json", arguments.json);
  CLI11_PARSE(app, argc, argv);
  const Row row = measure(arguments);
  std::puts((arguments.json ? to_json(row) : to_line(row)).c_str());
  return 0;
}
