// Bodies of jobs: raw bytes, or a type of yours in the format of your choice.
//
//   client.enqueue("thumbnails", jpeg_bytes, {.type = "Thumbnail"});       // raw: this header is enough
//   client.enqueue("receipts", SendReceipt{"a@example.org", 42});          // typed: through BodyFormat<SendReceipt>
//
// jobq/msgpack_body.hpp packs every type that has a MSGPACK_DEFINE_MAP. For another format say so for your type:
//
//   template <> struct jobq::BodyFormat<Order> {
//     static std::string pack(const Order& order) { return order.SerializeAsString(); }
//     static Order unpack(std::string_view bytes);   // throws jobq::Error, code bad_body: the job is rejected
//   };
//
// The broker never looks into a body.
//
// Thread-safety: functions without state. Units: bytes.
#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

namespace jobq {

// A view of raw bytes, made implicitly from anything that is text (std::string, std::string_view, "literal")
// or a contiguous range of char, unsigned char or std::byte (std::vector, std::span, std::array). Does not
// own: what it was made from must live as long as the call that it is passed to. Calls that outlive their
// return (futures, callbacks) copy.
class Bytes {
 public:
  Bytes() = default;
  Bytes(const void* data, std::size_t size) : view_(static_cast<const char*>(data), size) {}

  template <typename Text>
    requires std::convertible_to<const Text&, std::string_view>
  Bytes(const Text& text) : view_(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)

  template <typename Range>
    requires(!std::convertible_to<const Range&, std::string_view> &&
             std::ranges::contiguous_range<const Range> && std::ranges::sized_range<const Range> &&
             (std::same_as<std::ranges::range_value_t<const Range>, char> ||
              std::same_as<std::ranges::range_value_t<const Range>, unsigned char> ||
              std::same_as<std::ranges::range_value_t<const Range>, std::byte>))
  Bytes(const Range& range)  // NOLINT(google-explicit-constructor)
      : view_(reinterpret_cast<const char*>(std::ranges::data(range)), std::ranges::size(range)) {}

  [[nodiscard]] std::string_view view() const { return view_; }
  [[nodiscard]] std::size_t size() const { return view_.size(); }

 private:
  std::string_view view_;
};

// A type of yours, as opposed to bytes.
template <typename T>
concept TypedBody = !std::convertible_to<const T&, Bytes> && std::is_class_v<T>;

namespace body_detail {

constexpr bool is_type_name(std::string_view name) {
  if (name.empty() || name.size() > 64 || name[0] == '.' || name[0] == '_' || name[0] == '-') return false;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

// The compiler's own spelling of T without its namespaces: GCC writes "[with T = app::SendReceipt; ...]",
// clang
// "[T = app::SendReceipt]".
template <typename T>
constexpr std::string_view unqualified_name() {
  std::string_view name = __PRETTY_FUNCTION__;
  name.remove_prefix(name.find("T = ") + 4);
  name = name.substr(0, name.find_first_of(";]"));
  const auto colons = name.rfind("::");
  return colons == std::string_view::npos ? name : name.substr(colons + 2);
}

}  // namespace body_detail

// The job type under which a T travels: T::kJobType if there is one, else the name of T without its
// namespaces
// ("SendReceipt"). The name is what producers and workers have in common: when you rename or move a type
// whose jobs may be waiting, give it the old name: `static constexpr const char* kJobType = "SendReceipt";`.
template <typename T>
constexpr std::string_view job_type() {
  if constexpr (requires { std::string_view{T::kJobType}; }) {
    constexpr std::string_view name{T::kJobType};
    static_assert(body_detail::is_type_name(name),
                  "kJobType: 1 to 64 of [A-Za-z0-9._-], the first one a letter or a digit");
    return name;
  } else {
    constexpr std::string_view name = body_detail::unqualified_name<T>();
    static_assert(
        body_detail::is_type_name(name),
        "this type has no plain name (a template?): give it `static constexpr const char* kJobType`");
    return name;
  }
}

// How a T becomes the bytes of a body, and back. "incomplete type jobq::BodyFormat<...>": include
// "jobq/msgpack_body.hpp", or give your type a format of its own, as above.
template <typename T>
struct BodyFormat;

template <TypedBody T>
std::string pack_body(const T& value) {
  return BodyFormat<T>::pack(value);
}

template <TypedBody T>
T unpack_body(std::string_view packed) {
  return BodyFormat<T>::unpack(packed);
}

}  // namespace jobq
