#include "libjobq/base/out_of_memory.hpp"

#include <unistd.h>

#include <cstring>
#include <new>

namespace jobq {
namespace {

const char* last_line = "";
int last_code = 0;

}  // namespace

void end_out_of_memory() {
  // Not through the log or stdio: they may want memory.
  if (::write(STDERR_FILENO, last_line, std::strlen(last_line)) < 0) last_line = "";  // nobody listens
  ::_exit(last_code);
}

void end_when_out_of_memory(const char* line, int exit_code) {
  last_line = line;
  last_code = exit_code;
  std::set_new_handler(end_out_of_memory);
}

}  // namespace jobq
