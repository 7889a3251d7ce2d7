// Big-endian integers in byte strings: keys in the store sort by value this way, and the format does not
// depend on the machine.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace jobq {

template <std::unsigned_integral T>
constexpr T to_big_endian(T value) {
  if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
    return value;
  } else if constexpr (sizeof(T) == 2) {
    return static_cast<T>(__builtin_bswap16(value));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<T>(__builtin_bswap32(value));
  } else {
    return static_cast<T>(__builtin_bswap64(value));
  }
}

template <std::unsigned_integral T>
void put_big_endian(std::string* out, T value) {
  const T big = to_big_endian(value);
  char raw[sizeof(T)];
  std::memcpy(raw, &big, sizeof(T));
  out->append(raw, sizeof(T));
}

// REQUIRES: at least sizeof(T) bytes at data.
template <std::unsigned_integral T>
T get_big_endian(const char* data) {
  T big;
  std::memcpy(&big, data, sizeof(T));
  return to_big_endian(big);
}

}  // namespace jobq
