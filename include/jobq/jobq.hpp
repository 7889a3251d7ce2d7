// Everything that a program using jobq sees. docs/architecture.md says where to read on.
#pragma once

#include "jobq/body.hpp"
#include "jobq/client.hpp"
#include "jobq/error.hpp"
#include "jobq/job.hpp"
#include "jobq/msgpack_body.hpp"
#include "jobq/options.hpp"
#include "jobq/runtime.hpp"
#include "jobq/status.hpp"
#include "jobq/version.hpp"
#include "jobq/worker.hpp"
