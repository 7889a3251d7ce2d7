// A disk that fails when it is told to: failing_disk.c, linked into the test, stands in for the calls that write, sync and grow
// the files of one store, and lets the Nth of a kind go wrong, once or from then on. Thread-safe; one disk per process.
#pragma once

#include <string>

namespace jobq::faults {

// The same numbers are in failing_disk.c.
enum class DiskCall : int {
  write = 1,
  meta = 2,
  sync = 3,
  grow = 4
};  // meta: LMDB's last page, written and synced in one
enum class DiskFault : int {
  io_error = 1,
  no_space = 2,
  short_write = 3,
  done_and_denied = 4,  // it is on the disk, and an error is returned nevertheless
};

extern "C" {
void failing_disk_arm(const char* path, int kind, int mode, long number, int repeat);
void failing_disk_disarm(void);
long failing_disk_failed(void);
}

}  // namespace jobq::faults
