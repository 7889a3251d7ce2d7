// An Enqueue message in the pieces in which a producer makes it: each group when it is submitted, the head when the
// message is sent, and again when it is sent again. Head and groups one after the other are the same bytes as codec.hpp's
// encode() makes of the whole.
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "libjobq/protocol/message.hpp"

namespace jobq::protocol {

// Appends the beginning of a group of so many jobs, which are to follow.
void append_group_head(std::string_view queue, std::size_t jobs, std::string* out);
// REQUIRES: headers are packed.
void append_job(const EnqueueJob& job, std::string* out);

// Everything of the message before its first group. `message`: its groups and jobs are not looked at.
inline constexpr std::size_t kEnqueueHeadMost = 64;
std::size_t write_enqueue_head(std::uint64_t request_id, const Enqueue& message, std::size_t groups,
                               char (&room)[kEnqueueHeadMost]);

// The queue of a group that append_group_head() began.
std::string_view queue_of_group(std::string_view group);

}  // namespace jobq::protocol
