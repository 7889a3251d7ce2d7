// Where a broker may be asked to be: tcp://HOST:PORT or ipc://PATH. ZeroMQ itself takes any port and never says that it
// cannot reach it.
//
// Thread-safety: a function without state.
#pragma once

#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>

namespace jobq {

inline bool is_endpoint(std::string_view text) {
  constexpr std::string_view kTcp = "tcp://", kIpc = "ipc://";
  if (text.starts_with(kIpc)) return text.size() > kIpc.size();
  const std::size_t colon = text.rfind(':');
  if (!text.starts_with(kTcp) || colon <= kTcp.size()) return false;
  const std::string_view port = text.substr(colon + 1);
  unsigned number = 0;
  const auto read = std::from_chars(port.data(), port.data() + port.size(), number);
  return read.ec == std::errc{} && read.ptr == port.data() + port.size() && number >= 1 && number <= 65535;
}

}  // namespace jobq
