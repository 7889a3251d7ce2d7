// "Did you mean": what to say when a name does not exist.
//
// Thread-safety: functions without state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace jobq::cli {

// Letters to insert, delete or replace to make one of the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

// "; did you mean 'stats'?" when one of the names is near enough to have been meant; else nothing.
std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& names);

// "no queue is called 'recipts'; there are: receipts, emails. `jobq queue ls` lists them". The nearest names first, at
// most eight of them.
std::string no_such_queue_text(std::string_view wanted, std::vector<std::string> existing);

}  // namespace jobq::cli
