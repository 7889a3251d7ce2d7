// An order as the shop's web page posts it, checked. Free functions over plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace shop {

struct OrderItem {
  std::string sku;
  std::int64_t quantity = 0;     // 1 to 1,000
  std::int64_t price_cents = 0;  // of one piece
};

struct Order {
  std::uint64_t number = 0;
  std::string email;  // safe to put in a mail's header and in an SMTP command
  std::vector<OrderItem> items;

  [[nodiscard]] std::int64_t total_cents() const;
};

// What is wrong with a posted order, in words for whoever wrote the page.
struct OrderProblem {
  int http_status = 422;  // 400: not JSON; 422: JSON that is not an order
  std::string field;      // "items[2].quantity"; empty: the whole
  std::string message;
};

// Any bytes give an order or a problem: the first one found.
std::variant<Order, OrderProblem> parse_order(std::string_view json);

// "34.50"
std::string money(std::int64_t cents);

}  // namespace shop
