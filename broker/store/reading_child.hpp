// Runs work that reads a store in a child process, so that a damaged page, which LMDB may not survive, is reported and not
// suffered. The child hands lines and one result back over a pipe.
//
//   const ChildEnd end = run_in_child([&](const LineSink& line) { line("found"); return std::string("result"); },
//                                     [](std::string_view line) { puts(line); });
//   // end.whole: the work came to its end, end.result is what it returned.  Else end.status says why.
//
// Call it from a process with one thread. The child ends with its parent, ignores SIGINT and SIGTERM (the parent decides,
// through `go_on`), and must not return objects that need more than its memory.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "broker/store/lmdb_options.hpp"
#include "jobq/status.hpp"

namespace jobq {

using LineSink = std::function<void(std::string_view line)>;

struct ChildEnd {
  bool whole = false;
  std::string result;
  Status status;  // not ok: a StoreError of the work, or a failure to run it
  StoreProblem problem = StoreProblem::none;
  int signal = 0;        // what ended the child, when it did not end by itself
  bool stopped = false;  // by go_on
};

// work: in the child; may throw StoreError. line: in the parent, for each line. go_on: in the parent, about five times a
// second while the child works; false kills it. May be empty.
ChildEnd run_in_child(const std::function<std::string(const LineSink& line)>& work, const LineSink& line,
                      const std::function<bool()>& go_on = {});

// Of a child that was neither whole nor has a status: not ok when it was ended from outside, which says nothing of what
// it read. `doing` begins the sentence.
Status ended_from_outside(const ChildEnd& end, const std::string& doing);

}  // namespace jobq
