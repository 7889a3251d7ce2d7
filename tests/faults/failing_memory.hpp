// A heap that fails when it is told to: failing_memory.c, linked into the test. The nth allocation from now on returns no
// memory, once or for ever. Thread-safe; one per process.
#pragma once

namespace jobq::faults {

extern "C" {
void failing_memory_arm(long nth, int for_ever);  // nth: from 1
void failing_memory_disarm(void);
long failing_memory_failed(void);  // calls, since it was armed
long failing_memory_left(void);    // calls until one fails
}

}  // namespace jobq::faults
