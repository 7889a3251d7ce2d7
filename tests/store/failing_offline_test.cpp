// What check, restore, compaction and repair say and leave when the system or LMDB refuses, when their reading
// process dies, and when their caller does not want to go on.
#include <doctest/doctest.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>

#include "broker/store/reading_child.hpp"
#include "tests/store/failing_offline.hpp"

namespace jobq {
namespace {

TEST_CASE("what cannot be checked is refused by name") {
  const Offline store;
  const std::string odd = store.place.path() + "/odd";
  const auto file = [&](const std::string& text) { std::ofstream(odd) << text; };
  check_said(check(odd), Code::io_error, StoreProblem::io, {"cannot look at " + odd + ": No such file"});
  check_said(check(store.place.path() + "/" + std::string(300, 'n')), Code::io_error, StoreProblem::io,
             {"File name too long"});
  check_said(check(store.backup + "/below"), Code::io_error, StoreProblem::io, {"Not a directory"});
  file("");
  check_said(check(odd), Code::corruption, StoreProblem::damaged, {odd + " is empty"});
  file("short");
  check_said(check(odd), Code::corruption, StoreProblem::not_a_store, {odd + " is not a store of jobq"});
  file(std::string(10'000, 'x'));
  check_said(check(odd), Code::corruption, StoreProblem::not_a_store,
             {"both pages at its front are damaged"});
  fs::remove(odd);
  REQUIRE(mkfifo(odd.c_str(), 0600) == 0);
  check_said(check(odd), Code::io_error, StoreProblem::not_a_store,
             {odd + " is neither a directory nor a file"});
  fs::remove(odd);
  fs::create_directory(odd);
  check_said(check(odd), Code::io_error, StoreProblem::not_a_store,
             {odd + " holds no store: there is no data.mdb"});
  std::ofstream(odd + "/data.mdb").flush();
  check_said(check(odd), Code::corruption, StoreProblem::not_a_store, {"is not a store of jobq"});
  fs::remove(odd + "/data.mdb");
  fs::create_symlink("data.mdb", odd + "/data.mdb");
  check_said(check(odd), Code::io_error, StoreProblem::io, {"cannot read " + odd, "Too many levels"});
  const fs::path before = fs::current_path();
  fs::current_path(store.home);
  const Done here = check("data.mdb");
  fs::current_path(before);
  CHECK_MESSAGE(here.status.ok(), here.status.text());
}

TEST_CASE("a store that somebody holds is not checked, and he is named if he is known") {
  const Offline store;
  for (const char* pid : {"", "4711\n"}) {
    std::ofstream(store.home + "/lock") << pid;
    const Failing taking({.call = "flock", .error = EWOULDBLOCK});
    check_said(
        check(store.home), Code::io_error, StoreProblem::already_open,
        {store.home + " is in use by process " + (*pid == 0 ? "(pid unknown)" : "4711"), "or stop it first"});
  }
}

TEST_CASE("a reading process that cannot be started, or is ended, is told from a damaged page") {
  const Offline store;
  const auto fail = [&](Fault fault) {
    const Failing failing(std::move(fault));
    return check(store.home);
  };
  check_said(fail({.call = "pipe2", .error = EMFILE}), Code::io_error, StoreProblem::io,
             {"cannot make a pipe: Too many open files"});
  check_said(fail({.call = "fork", .error = EAGAIN}), Code::io_error, StoreProblem::io,
             {"cannot start the reading process: Resource temporarily unavailable"});
  check_said(fail({.call = "mdb_env_open", .in = In::a_child, .signal = SIGKILL}), Code::io_error,
             StoreProblem::io, {"reading " + store.home + " was killed (signal 9)", "memory", "again"});
  check_said(
      fail({.call = "mdb_env_open", .in = In::a_child, .signal = SIGUSR1}), Code::corruption,
      StoreProblem::damaged,
      {"reading " + store.home + " ended by signal 10", "jobq check " + store.home + " --repair NEW_DIR"});
  check_said(fail({.call = "write", .error = EPIPE, .in = In::a_child}), Code::io_error, StoreProblem::io,
             {"reading " + store.home + " ended before it was done: run it again"});
  check_said(fail({.call = "read", .error = EIO, .in = In::this_process}), Code::io_error, StoreProblem::io,
             {"ended before it was done"});
  check_said(fail({.call = "mdb_env_open", .error = ENOMEM, .in = In::a_child}), Code::io_error,
             StoreProblem::io, {"Cannot allocate memory"});
  // Signals that only interrupt are nothing.
  CHECK(fail({.call = "write", .error = EINTR, .in = In::a_child}).status.ok());
  CHECK(fail({.call = "read", .error = EINTR, .in = In::this_process}).status.ok());
  CHECK(fail({.call = "waitpid", .error = EINTR}).status.ok());
  CHECK(fail({.call = "waitpid", .error = ECHILD}).status.ok());
}

TEST_CASE("lines and a result that do not fit one piece arrive whole") {
  std::size_t lines = 0, bytes = 0;
  const ChildEnd end = run_in_child(
      [](const LineSink& line) {
        for (int i = 0; i < 50; ++i) line(std::string(9'999, 'l'));
        return std::string(300'000, 'r');
      },
      [&](std::string_view line) {
        ++lines;
        bytes += line.size();
      },
      [] { return true; });
  CHECK(end.whole);
  CHECK(lines == 50);
  CHECK(bytes == 499'950);
  CHECK(end.result == std::string(300'000, 'r'));
  ChildEnd crashed;
  crashed.signal = SIGUSR1;
  CHECK(ended_from_outside(crashed, "it").ok());
}

TEST_CASE("a check that its caller stops is over, and one that he lets go on ends") {
  const Offline store;
  const Failing waiting({.call = "poll", .error = EINTR});
  check_said(check(store.home, [] { return false; }), Code::closed, StoreProblem::interrupted,
             {"interrupted"});
  CHECK(waiting.met() == 1);
  const Failing again({.call = "poll", .error = EINTR});
  CHECK(check(store.home, [] { return true; }).status.ok());
  CHECK(again.met() == 1);
}

// ---- restore, compaction, repair --------------------------------------------------------------

struct Refusal {
  Fault fault;
  Code code;
  StoreProblem problem;
  const char* text;
};

TEST_CASE("a restore that the system refuses leaves nothing, and can be run again") {
  const Offline store;
  fs::create_directory(store.fresh);
  const auto open_aside = [](int error) {
    return Fault{.call = "open64", .error = error, .path_end = ".restoring"};
  };
  const Refusal refusals[] = {
      {{.call = "open64", .error = EIO, .path_end = "backup.mdb", .in = In::this_process},
       Code::io_error,
       StoreProblem::io,
       "cannot read "},
      {open_aside(ENOSPC), Code::disk_full, StoreProblem::no_space,
       "No space left on device; free disk space"},
      {open_aside(EDQUOT), Code::disk_full, StoreProblem::no_space, "free disk space"},
      {open_aside(EACCES), Code::io_error, StoreProblem::read_only,
       "Permission denied; check owner and mode"},
      {open_aside(EPERM), Code::io_error, StoreProblem::read_only, "check owner and mode"},
      {open_aside(EROFS), Code::io_error, StoreProblem::read_only, "check owner and mode"},
      {open_aside(EMFILE), Code::io_error, StoreProblem::io, "Too many open files"},
      {{.call = "open64", .error = EMFILE, .path_end = ".restoring", .after = 2, .in = In::this_process},
       Code::io_error,
       StoreProblem::io,
       "cannot sync "},
      {{.call = "fsync", .error = EIO}, Code::io_error, StoreProblem::io, "cannot sync "},
      {{.call = "rename", .error = EIO}, Code::io_error, StoreProblem::io, "data.mdb.restoring to "},
      {{.call = "mdb_txn_commit", .error = ENOSPC, .after = 1, .in = In::this_process},
       Code::disk_full,
       StoreProblem::no_space,
       "cannot commit"},
  };
  for (const Refusal& one : refusals) {
    CAPTURE(one.text);
    const Failing failing(one.fault);
    check_said(store.restore(), one.code, one.problem, {one.text});
    CHECK(failing.met() == 1);
    CHECK_FALSE(fs::exists(store.fresh + "/data.mdb"));
    CHECK_FALSE(fs::exists(store.fresh + "/data.mdb.restoring"));
  }
  {
    const Pretending full({.disk_is_full = true});
    check_said(
        store.restore(), Code::disk_full, StoreProblem::no_space,
        {"the restore needs up to 1 MiB in " + store.fresh + ", and 0 MiB are free; nothing was changed"});
  }
  {
    const Failing looking({.call = "statvfs64", .error = EIO});
    CHECK(store.restore().status.code() == Code::disk_full);
  }
  {
    const Pretending root({.user = 0});
    const Failing giving({.call = "chown", .error = EIO});
    check_said(store.restore(), Code::io_error, StoreProblem::io, {"to the owner of " + store.fresh});
  }
  {
    const Pretending root({.user = 0});
    const Failing looking({.call = "stat64", .error = EIO, .path_end = "/fresh", .for_ever = true});
    CHECK(store.restore().status.ok());
    CHECK(looking.met() == 2);
    fs::remove_all(store.fresh);
  }
  {
    OfflineOptions options;
    options.progress = [](std::string_view doing, std::uint64_t, std::uint64_t) {
      return doing != "copying";
    };
    check_said(store.restore(options), Code::closed, StoreProblem::interrupted, {"interrupted"});
  }
  std::ofstream(store.fresh + "/data.mdb.restoring-lock") << "left over";
  const Pretending user({.user = 1000});
  const Failing giving({.call = "chown", .error = EIO});
  const Done done = store.restore();
  CHECK_MESSAGE(done.status.ok(), done.status.text());
  CHECK(giving.met() == 0);
}

TEST_CASE("a copy that cannot be read or written to its end is not put in place") {
  const Offline store;
  const auto restore_with = [&](const Fault& fault) {
    std::optional<Failing> failing;
    OfflineOptions options;
    options.progress = [&](std::string_view doing, std::uint64_t, std::uint64_t) {
      if (doing == "copying" && !failing) failing.emplace(fault);
      return true;
    };
    const Done done = store.restore(options);
    CHECK(failing->met() == 1);
    return done;
  };
  check_said(restore_with({.call = "read", .error = EIO, .in = In::this_process}), Code::io_error,
             StoreProblem::io, {"cannot read " + store.backup + ": Input/output error"});
  check_said(restore_with({.call = "write", .error = ENOSPC, .in = In::this_process}), Code::disk_full,
             StoreProblem::no_space, {"cannot write " + store.fresh, "free disk space"});
  check_said(restore_with({.call = "write", .error = 0, .in = In::this_process}), Code::io_error,
             StoreProblem::io, {"cannot write " + store.fresh, "Input/output error"});
  // Cut short without an error: the copy is verified before it gets its name.
  CHECK_FALSE(restore_with({.call = "read", .error = 0, .in = In::this_process}).status.ok());
  CHECK_FALSE(fs::exists(store.fresh + "/data.mdb"));
  CHECK(restore_with({.call = "read", .error = EINTR, .in = In::this_process}).status.ok());
  fs::remove_all(store.fresh);
  CHECK(restore_with({.call = "write", .error = EINTR, .in = In::this_process}).status.ok());
}

TEST_CASE("a compaction that the system refuses leaves the old store, and can be run again") {
  const Offline store;
  const Refusal refusals[] = {
      {{.call = "open64", .error = ENOSPC, .path_end = ".compacting", .in = In::a_child},
       Code::disk_full,
       StoreProblem::no_space,
       "free disk space"},
      {{.call = "mdb_env_copyfd2", .error = EIO}, Code::io_error, StoreProblem::io, "cannot copy the store"},
      {{.call = "fsync", .error = EDQUOT, .in = In::a_child},
       Code::disk_full,
       StoreProblem::no_space,
       "cannot sync "},
      {{.call = "mdb_env_copyfd2", .signal = SIGKILL},
       Code::io_error,
       StoreProblem::io,
       "was killed (signal 9)"},
      {{.call = "mdb_env_copyfd2", .signal = SIGUSR1},
       Code::corruption,
       StoreProblem::damaged,
       "ended by signal 10: a page of it is damaged; nothing was changed"},
      {{.call = "chmod", .error = EPERM}, Code::io_error, StoreProblem::read_only, "cannot set the mode of "},
      {{.call = "rename", .error = EROFS}, Code::io_error, StoreProblem::read_only, "cannot rename "},
      {{.call = "stat64", .error = EIO, .path_end = "/data.mdb"},
       Code::io_error,
       StoreProblem::io,
       "cannot look at "},
  };
  for (const Refusal& one : refusals) {
    CAPTURE(one.text);
    {
      const Failing failing(one.fault);
      check_said(store.compact(), one.code, one.problem, {one.text});
    }
    CHECK(check(store.home).status.ok());
    CHECK_FALSE(fs::exists(store.home + "/data.mdb.compacting"));
  }
  {
    const Pretending full({.disk_is_full = true});
    check_said(store.compact(), Code::disk_full, StoreProblem::no_space,
               {"the compaction needs up to 1 MiB"});
  }
  // Stopped while it writes.
  OfflineOptions options;
  options.progress = [](std::string_view doing, std::uint64_t, std::uint64_t) { return doing != "writing"; };
  for (int after = 0; after < 40; ++after) {  // more waits than verifying has
    const Failing late({.call = "poll", .error = EINTR, .after = after});
    const Done done = store.compact(options);
    if (done.problem == StoreProblem::interrupted) break;
    CHECK_MESSAGE(done.status.ok(), done.status.text());
    REQUIRE(after < 39);
  }
  // What stands in the way under the new file's name is not written over.
  fs::create_directories(store.home + "/data.mdb.compacting/something");
  check_said(store.compact(), Code::io_error, StoreProblem::io, {"data.mdb.compacting: File exists"});
  fs::remove_all(store.home + "/data.mdb.compacting");
  CHECK(store.compact().status.ok());
}

TEST_CASE("a repair that the system refuses leaves nothing, and can be run again") {
  const Offline store;
  const Refusal refusals[] = {
      {{.call = "mdb_env_open", .in = In::a_child, .signal = SIGKILL},
       Code::io_error,
       StoreProblem::io,
       "was killed (signal 9)"},
      {{.call = "mdb_env_open", .in = In::a_child, .signal = SIGUSR1},
       Code::internal,
       StoreProblem::damaged,
       "ended by signal 10: report this as a fault of jobq"},
      {{.call = "mdb_txn_commit", .error = ENOSPC, .in = In::a_child},
       Code::disk_full,
       StoreProblem::no_space,
       "free disk space"},
      {{.call = "rename", .error = EIO}, Code::io_error, StoreProblem::io, "cannot rename "},
      {{.call = "mkdir", .error = EACCES}, Code::io_error, StoreProblem::read_only, "check owner and mode"},
  };
  for (const Refusal& one : refusals) {
    CAPTURE(one.text);
    fs::remove_all(store.fresh);
    const Failing failing(one.fault);
    check_said(store.repair(), one.code, one.problem, {one.text});
    CHECK_FALSE(fs::exists(store.fresh + "/data.mdb"));
    CHECK_FALSE(fs::exists(store.fresh + "/data.mdb.restoring"));
  }
  {
    OfflineOptions options;
    options.progress = [](std::string_view doing, std::uint64_t, std::uint64_t) {
      return doing != "saving jobs";
    };
    const Failing waiting({.call = "poll", .error = EINTR});
    check_said(store.repair(options), Code::closed, StoreProblem::interrupted, {"interrupted"});
  }
  const Done done = store.repair();
  CHECK_MESSAGE(done.status.ok(), done.status.text());
  check_said(store.repair(), Code::wrong_state, StoreProblem::not_empty,
             {"it holds a store: move that directory"});
}

TEST_CASE("what is in the way of a new store is named, the first three of it") {
  const Offline store;
  fs::create_directory(store.fresh);
  for (const char* name : {"d", "c", "b", "a"}) std::ofstream(store.fresh + "/" + name) << "x";
  check_said(store.restore(), Code::wrong_state, StoreProblem::not_empty,
             {store.fresh + " is not empty (a, b, c, ...); restore into a new directory"});
}

}  // namespace
}  // namespace jobq
