// The version of this library. The wire and the store carry versions of their own (docs/protocol.md,
// docs/storage_format.md).
#pragma once

#define JOBQ_VERSION "0.1.0"
