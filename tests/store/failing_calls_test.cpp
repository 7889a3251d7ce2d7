// What a broker says and does when the system or LMDB refuses: while it makes and opens its store. Each case
// asks for the code and for a text that names the thing, the reason and the remedy.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/store/failing_calls.hpp"

#include <doctest/doctest.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "broker/store/lmdb_env.hpp"
#include "broker/store/store_files.hpp"
#include "tests/store/lmdb_under_test.hpp"

namespace jobq {
namespace {

namespace fs = std::filesystem;

struct Opened {
  Status status;
  StoreProblem problem = StoreProblem::none;
  std::vector<std::string> log;
};

// Opened, recovered and closed.
Opened open_store(const std::string& path, bool allow_network_fs = false) {
  Opened opened;
  LmdbOptions options = LmdbUnderTest::small_options();
  options.path = path;
  options.allow_network_fs = allow_network_fs;
  options.log = [&](std::string_view line) { opened.log.emplace_back(line); };
  auto store = open_lmdb_store(options, &opened.problem);
  opened.status = store.ok() ? (*store)->recover().status() : store.status();
  return opened;
}

void check_refused(const Opened& opened, Code code, StoreProblem problem,
                   std::initializer_list<std::string> parts) {
  check_said(opened.status, code, parts);
  CHECK(std::string(to_string(opened.problem)) == to_string(problem));
}

// The kinds of errno that mean different things to whoever has to act.
struct Kind {
  int error;
  Code code;
  StoreProblem problem;
  const char* text;
};
constexpr Kind kKinds[] = {
    {ENOSPC, Code::disk_full, StoreProblem::no_space, "No space left on device; free disk space"},
    {EDQUOT, Code::disk_full, StoreProblem::no_space, "Disk quota exceeded; free disk space"},
    {EROFS, Code::io_error, StoreProblem::read_only, "Read-only file system"},
    {EACCES, Code::io_error, StoreProblem::read_only, "Permission denied; check owner and mode"},
    {EPERM, Code::io_error, StoreProblem::read_only, "Operation not permitted; check owner and mode"},
    {EIO, Code::io_error, StoreProblem::io, "Input/output error"},
};

TEST_CASE("a directory that cannot be made is named, with the reason and what to do") {
  const TemporaryDirectory place;
  const std::string home = place.path() + "/home";
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.text);
    const Failing mkdir({.call = "mkdir", .error = kind.error});
    check_refused(open_store(home), kind.code, kind.problem,
                  {"cannot make the directory " + home + " (choose another with --data)", kind.text});
    CHECK(mkdir.met() == 1);
    CHECK_FALSE(fs::exists(home));
  }
  // Somebody else made it meanwhile.
  fs::create_directory(home);
  const Failing looked({.call = "mkdir", .error = EEXIST});
  CHECK(open_store(home + "/deeper").problem == StoreProblem::not_a_store);
  CHECK(looked.met() == 1);
}

TEST_CASE("paths that cannot be a store's are refused by name") {
  const TemporaryDirectory place;
  const std::string file = place.path() + "/file";
  std::ofstream(file) << "x";
  check_refused(open_store(file), Code::io_error, StoreProblem::not_a_store,
                {file + " is a file; --data names"});
  check_refused(open_store(file + "/below"), Code::io_error, StoreProblem::io,
                {"cannot make the directory " + file + "/below", "Not a directory"});
  const std::string overlong = place.path() + "/" + std::string(300, 'n');
  check_refused(open_store(overlong), Code::io_error, StoreProblem::io,
                {"cannot make", "File name too long"});
  const std::string home = place.path() + "/home";
  fs::create_directories(home + "/lock");
  check_refused(open_store(home), Code::io_error, StoreProblem::io,
                {"cannot open " + home + "/lock: Is a directory"});
  fs::remove(home + "/lock");
  fs::create_symlink("data.mdb", home + "/data.mdb");
  check_refused(open_store(home), Code::io_error, StoreProblem::io,
                {"cannot look at " + home + "/data.mdb: Too many levels of symbolic links"});
  fs::remove(home + "/data.mdb");
  fs::create_directories(home + "/data.mdb/something");
  check_refused(open_store(home), Code::io_error, StoreProblem::io,
                {"cannot open " + home + "/data.mdb: Is a directory"});
}

TEST_CASE("a directory without a path is made where the process stands") {
  const TemporaryDirectory place;
  const fs::path before = fs::current_path();
  fs::current_path(place.path());
  const Opened opened = open_store("home");
  fs::current_path(before);
  CHECK_MESSAGE(opened.status.ok(), opened.status.text());
  CHECK(fs::exists(place.path() + "/home/data.mdb"));
}

TEST_CASE("network file systems are refused by name, unless they are wanted") {
  const TemporaryDirectory place;
  const std::string home = place.path() + "/home";
  const std::pair<unsigned long, std::string> known[] = {
      {0x6969, "NFS"},      {0x517B, "SMB"},        {0xFE534D42, "SMB"},  {0xFF534D42, "SMB"},
      {0x5346414F, "AFS"},  {0x6B414653, "AFS"},    {0x73757245, "Coda"}, {0x01021997, "9p"},
      {0x00C36400, "Ceph"}, {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x65735546, "FUSE"}};
  for (const auto& [magic, name] : known) {
    CAPTURE(name);
    const Pretending there({.file_system = magic});
    check_refused(
        open_store(home), Code::io_error, StoreProblem::network_fs,
        {home + " is on a " + name + " file system", "use a local disk", "store.allow_network_fs = true"});
    CHECK_FALSE(fs::exists(home));
  }
  {
    const Failing look({.call = "statfs64", .error = EIO});
    check_refused(open_store(home), Code::io_error, StoreProblem::io,
                  {"cannot look at " + place.path() + ": Input/output error"});
  }
  const Pretending there({.file_system = 0x6969});
  CHECK(open_store(home, true).status.ok());
}

TEST_CASE("a lock that cannot be taken or written says why, and one that is held by whom") {
  const TemporaryDirectory place;
  const std::string lock = place.path() + "/lock";
  {
    const Failing taking({.call = "flock", .error = ENOLCK});
    check_refused(open_store(place.path()), Code::io_error, StoreProblem::io,
                  {"cannot lock " + lock + ": No locks available"});
  }
  {
    std::ofstream(lock).flush();
    const Failing taking({.call = "flock", .error = EWOULDBLOCK});
    check_refused(open_store(place.path()), Code::io_error, StoreProblem::already_open,
                  {place.path() + " is in use by process (pid unknown); stop it first"});
  }
  for (const char* call : {"ftruncate64", "pwrite64"}) {
    const Failing writing({.call = call, .error = ENOSPC});
    check_refused(open_store(place.path()), Code::disk_full, StoreProblem::no_space,
                  {"cannot write " + lock, "free disk space"});
  }
  CHECK(open_store(place.path()).status.ok());
}

TEST_CASE("a store that cannot be made is not there, and is made the next time") {
  const auto refuse = [](const Fault& fault, const std::string& text, bool left = false) {
    CAPTURE(text);
    const TemporaryDirectory place;
    {
      const Failing failing(fault);
      const Opened opened = open_store(place.path());
      check_said(opened.status, fault.error == ENOSPC ? Code::disk_full : Code::io_error, {text});
      CHECK(failing.met() == 1);
      CHECK(fs::exists(place.path() + "/data.mdb") == left);
    }
    const Opened again = open_store(place.path());
    CHECK_MESSAGE(again.status.ok(), again.status.text());
  };
  refuse({.call = "open64", .error = EMFILE, .path_end = "data.mdb.new"},
         "data.mdb.new: Too many open files");
  refuse({.call = "fsync", .error = ENOSPC}, "cannot sync ");
  refuse({.call = "fsync", .error = EIO, .after = 1}, "cannot sync the directory ", true);
  refuse({.call = "rename", .error = EIO}, "data.mdb.new: Input/output error");
  refuse({.call = "open64", .error = ENFILE, .path_end = "/data.mdb"},
         "data.mdb: Too many open files in system", true);
  refuse({.call = "fstat64", .error = EIO}, "data.mdb: Input/output error", true);
  refuse({.call = "statx", .error = EIO}, "cannot look at ", true);
  refuse({.call = "mdb_env_create", .error = ENOMEM}, "cannot set up LMDB: Cannot allocate memory");
  refuse({.call = "mdb_env_set_mapsize", .error = EINVAL}, "cannot set the store's size limit");
  refuse({.call = "mdb_env_set_maxdbs", .error = EINVAL}, "cannot set up LMDB");
  refuse({.call = "mdb_cursor_put", .error = ENOSPC}, "cannot write the store: No space left");
  refuse({.call = "mdb_txn_commit", .error = EIO, .after = 1}, "cannot commit: Input/output error");
  refuse({.call = "mdb_dbi_open", .error = MDB_DBS_FULL}, "cannot open ");
}

TEST_CASE("a directory that cannot be opened cannot be synced, and that is said") {
  const TemporaryDirectory place;
  const Failing opening({.call = "open64", .error = EMFILE, .path_end = place.path()});
  check_refused(open_store(place.path() + "/home"), Code::io_error, StoreProblem::io,
                {"cannot sync the directory " + place.path() + ": Too many open files"});
}

TEST_CASE("what LMDB says of a file when it is opened becomes what can be done") {
  const TemporaryDirectory place;
  REQUIRE(open_store(place.path()).status.ok());
  const Kind known[] = {
      {MDB_INVALID, Code::corruption, StoreProblem::damaged, "not an LMDB file"},
      {MDB_CORRUPTED, Code::corruption, StoreProblem::damaged, "MDB_CORRUPTED"},
      {MDB_PAGE_NOTFOUND, Code::corruption, StoreProblem::damaged, "page not found"},
      {MDB_VERSION_MISMATCH, Code::corruption, StoreProblem::damaged, "version mismatch"},
      {MDB_BAD_TXN, Code::corruption, StoreProblem::damaged, "ransaction"},
      {MDB_MAP_FULL, Code::store_full, StoreProblem::no_space, "raise the store's size limit or remove jobs"},
      {ENOMEM, Code::io_error, StoreProblem::io, "Cannot allocate memory"},
  };
  const auto refuse = [&](const Kind& kind) {
    CAPTURE(kind.text);
    const Failing opening({.call = "mdb_env_open", .error = kind.error});
    check_refused(open_store(place.path()), kind.code, kind.problem,
                  {"cannot open " + place.path(), kind.text});
  };
  for (const Kind& kind : known) refuse(kind);
  for (const Kind& kind : kKinds) refuse(kind);
  {
    const Failing opening({.call = "mdb_dbi_open", .error = MDB_NOTFOUND, .path_end = "jobs"});
    check_refused(open_store(place.path()), Code::corruption, StoreProblem::not_a_store,
                  {"data.mdb has no table 'jobs': this is not a store of jobq"});
  }
  const Failing beginning({.call = "mdb_txn_begin", .error = MDB_READERS_FULL});
  check_refused(open_store(place.path()), Code::io_error, StoreProblem::io, {"cannot open ", "maxreaders"});
}

TEST_CASE("where the file system tells no time of birth, the inode alone tells a copy") {
  const TemporaryDirectory place;
  const Pretending old({.no_birth_time = true});
  CHECK(open_store(place.path()).log == std::vector<std::string>{"made a new store in " + place.path()});
  CHECK(open_store(place.path()).log.empty());
  fs::rename(place.path() + "/data.mdb", place.path() + "/old");
  fs::copy_file(place.path() + "/old", place.path() + "/data.mdb");
  CHECK(open_store(place.path()).log ==
        std::vector<std::string>{"the store was copied or restored: it gets a new incarnation"});
}

TEST_CASE("a file of the same number that was born at another time is a copy") {
  const TemporaryDirectory place;
  for (const long long born : {1'000, 1'000, 2'000}) {
    const Pretending then({.born_s = born});
    const Opened opened = open_store(place.path());
    CHECK(opened.status.ok());
    CHECK((opened.log ==
           std::vector<std::string>{"the store was copied or restored: it gets a new incarnation"}) ==
          (born == 2'000));
  }
}

TEST_CASE("every problem has a name of its own") {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(StoreProblem::interrupted); ++i)
    names.emplace_back(to_string(static_cast<StoreProblem>(i)));
  CHECK(names == std::vector<std::string>{"none", "already_open", "not_a_store", "newer_format", "damaged",
                                          "no_space", "read_only", "network_fs", "io", "not_empty",
                                          "interrupted"});
}

}  // namespace
}  // namespace jobq
