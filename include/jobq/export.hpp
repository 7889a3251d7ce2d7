// JOBQ_API marks what libjobq.so exports; everything else in it is hidden. Static builds: it does nothing harmful.
// For the library's own headers.
#pragma once

#define JOBQ_API __attribute__((visibility("default")))
