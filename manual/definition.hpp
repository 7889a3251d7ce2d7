// A program's command line as a document, for what is made of it at build time: man pages and completion. So they say what
// --help says, because both come from the same definition.
//
//   CLI::App app{"jobq-broker: keeps jobs safe ..."};
//   ... declare options and commands ...
//   manual::add_definition_flag(&app);      // last, before parse()
//
// The flag, --print-definition, is hidden. It prints JSON and ends the parse with CLI::Success, like --help.
// manual/make_manual.py reads it. Thread-safety: one thread.
#pragma once

#include <CLI/CLI.hpp>

namespace jobq::manual {

void add_definition_flag(CLI::App* app);

}  // namespace jobq::manual
