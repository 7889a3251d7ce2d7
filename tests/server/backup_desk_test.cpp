// The verbs of the online backup: their documents, what they refuse, and that a slow copy holds nothing up.
#include <doctest/doctest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "broker/server/backup_desk.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/store/faulty_store.hpp"
#include "tests/store/temporary_directory.hpp"

using namespace jobq;
using nlohmann::ordered_json;

namespace {

// A store whose backups last until they are let go, or stopped.
class SlowBackups final : public FaultyStore {
 public:
  SlowBackups() : FaultyStore(&memory_) {}
  Status backup(const std::string& path) override {
    std::unique_lock lock(mutex_);
    std::ofstream(path + ".part") << "half";
    changed_.wait(lock, [this] { return let_go_ || stopped_; });
    std::filesystem::remove(path + ".part");
    const bool stopped = std::exchange(stopped_, false);
    if (stopped) return {Code::wrong_state, "the backup was stopped"};
    if (!fails.ok()) return fails;
    std::ofstream(path) << "a whole backup";
    return {};
  }
  void stop_backup() override {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }
  Status fails;

 private:
  MemoryStore memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool let_go_ = false, stopped_ = false;
};

struct World {
  TemporaryDirectory directory;
  Config config;
  SlowBackups store;
  World() {
    config.data = directory.path();
    config.store_min_free_bytes = 0;
  }
  [[nodiscard]] std::string place(const std::string& name) const {
    return directory.path() + "/backups/" + name;
  }
};

ordered_json ask(BackupDesk* desk, std::string_view verb, std::string_view file = {}) {
  protocol::Admin admin{verb, {}};
  if (!file.empty()) admin.params.push_back({"file", file});
  const Result<ordered_json> answer = desk->answer(admin, TimeMs{1'700'000'000'000});
  if (!answer.ok()) return {{"error", to_string(answer.code())}, {"text", answer.status().text()}};
  return (*answer)["backup"];
}

// Until the thread has said how it ended: it was let go, so that it does.
ordered_json end_of(BackupDesk* desk) {
  ordered_json shown;
  do {
    shown = ask(desk, "backup.show");
    std::this_thread::yield();
  } while (shown["state"] == "running");
  return shown;
}

}  // namespace

TEST_CASE("a backup runs beside the loop, is shown, and ends whole") {
  World world;
  BackupDesk desk(&world.config, &world.store);
  CHECK(ask(&desk, "backup.show")["state"] == "none");
  CHECK(ask(&desk, "backup.show")["file"].is_null());
  CHECK(ask(&desk, "backup.cancel")["error"] == "wrong_state");
  const ordered_json begun = ask(&desk, "backup", "one.mdb");
  CHECK(begun["state"] == "running");
  CHECK(begun["file"] == world.place("one.mdb"));
  CHECK(begun["began_at"] == 1'700'000'000'000);
  CHECK(ask(&desk, "backup", "two.mdb")["error"] == "wrong_state");
  world.store.let_go();
  const ordered_json done = end_of(&desk);
  CHECK(done["state"] == "done");
  CHECK(done["bytes"] == 14);
  CHECK(done["error"].is_null());
  CHECK(ask(&desk, "backup", "one.mdb")["text"].get<std::string>().find("exists") != std::string::npos);
  // It may have ended before it is shown for the first time: nothing holds it back any more.
  CHECK(ask(&desk, "backup", world.place("three.mdb"))["file"] == world.place("three.mdb"));
  CHECK(end_of(&desk)["file"] == world.place("three.mdb"));
}

TEST_CASE("a backup that is cancelled, fails or is left behind by its broker leaves nothing") {
  World world;
  {
    BackupDesk desk(&world.config, &world.store);
    CHECK(ask(&desk, "backup", "cancelled.mdb")["state"] == "running");
    ask(&desk, "backup.cancel");
    CHECK(end_of(&desk)["state"] == "cancelled");
    CHECK(ask(&desk, "backup", "left.mdb")["state"] == "running");
  }  // the broker stops
  CHECK(std::filesystem::is_empty(world.directory.path() + "/backups"));
  BackupDesk desk(&world.config, &world.store);
  world.store.fails = {Code::disk_full, "no room"};
  world.store.let_go();
  ask(&desk, "backup", "failed.mdb");
  const ordered_json failed = end_of(&desk);
  CHECK(failed["state"] == "failed");
  CHECK(failed["error"] == "no room");
}

TEST_CASE("a backup is written nowhere but into its directory, under a plain name") {
  World world;
  BackupDesk desk(&world.config, &world.store);
  world.store.let_go();
  for (const char* name : {"../x", "a/b", ".x", "-x", "x.part", "a b", "a\nb", "a\tb", "\xff", ".", ".."})
    CHECK_MESSAGE(ask(&desk, "backup", name)["error"] == "bad_argument", name);
  CHECK(ask(&desk, "backup")["error"] == "bad_argument");
  CHECK(ask(&desk, "backup", std::string(300, 'x'))["error"] == "bad_argument");
  for (const char* name : {"/etc/passwd", "/", "//x"})
    CHECK_MESSAGE(ask(&desk, "backup", name)["error"] == "forbidden", name);
  CHECK(ask(&desk, "backup", world.place("../../x"))["error"] == "forbidden");
  world.config.store_backup_directory = world.directory.path() + "/no/such";
  CHECK(ask(&desk, "backup", "x")["error"] == "io_error");
  world.config.store_backup_directory = world.directory.path() + "/other/";
  CHECK(ask(&desk, "backup", "x")["file"] == world.directory.path() + "/other/x");
  end_of(&desk);
  world.config.store_min_free_bytes = std::uint64_t{1} << 60;
  const ordered_json full = ask(&desk, "backup", "y");
  CHECK(full["error"] == "disk_full");
  CHECK(full["text"].get<std::string>().find("store.min_free") != std::string::npos);
}
