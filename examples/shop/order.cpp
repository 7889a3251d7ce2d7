#include "examples/shop/order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

namespace shop {
namespace {

using nlohmann::json;

constexpr std::size_t kItemsMax = 100;
constexpr std::int64_t kQuantityMax = 1'000;
constexpr std::int64_t kPriceCentsMax = 100'000'000;
constexpr std::int64_t kOrderNumberMax = std::int64_t{1} << 53;  // what JavaScript can count to

OrderProblem unfit(std::string field, std::string message) {
  return {422, std::move(field), std::move(message)};
}

// The field as a whole number of the range, or the problem.
std::variant<std::int64_t, OrderProblem> whole_number(const json& object, const char* key,
                                                      const std::string& path, std::int64_t min,
                                                      std::int64_t max) {
  const auto found = object.find(key);
  if (found == object.end())
    return unfit(path, fmt::format("is missing: a whole number from {} to {}", min, max));
  if (!found->is_number_integer()) return unfit(path, "must be a whole number");
  // Numbers beyond int64 are kept as unsigned: get<int64_t>() would wrap them around.
  const bool fits = !found->is_number_unsigned() ||
                    found->get<std::uint64_t>() <= static_cast<std::uint64_t>(kOrderNumberMax);
  const std::int64_t value = fits ? found->get<std::int64_t>() : max;
  if (!fits || value < min || value > max) {
    return unfit(path, fmt::format("is {}: must be from {} to {}", found->dump(), min, max));
  }
  return value;
}

// One '@' between a plain local part and a host name. Stricter than the standard: nothing that could end a
// line or an SMTP command passes, and nobody's web shop takes "quoted strings"@[10.0.0.1].
bool is_mailbox(std::string_view text) {
  const auto at = text.find('@');
  if (at == std::string_view::npos || at == 0 || at > 64 || text.size() > 254) return false;
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const std::string_view local = text.substr(0, at);
  const std::string_view host = text.substr(at + 1);
  const bool local_ok = std::all_of(local.begin(), local.end(), [&](char c) {
    return is_alnum(c) || std::string_view(".!#$%&'*+/=?^_`{|}~-").find(c) != std::string_view::npos;
  });
  const bool host_ok =
      !host.empty() && is_alnum(host.front()) && is_alnum(host.back()) &&
      std::all_of(host.begin(), host.end(), [&](char c) { return is_alnum(c) || c == '.' || c == '-'; });
  return local_ok && host_ok;
}

std::variant<OrderItem, OrderProblem> parse_item(const json& item, std::size_t index) {
  const std::string path = fmt::format("items[{}]", index);
  if (!item.is_object()) return unfit(path, "must be an object with sku, quantity and price_cents");
  OrderItem parsed;
  const auto sku = item.find("sku");
  if (sku == item.end() || !sku->is_string()) return unfit(path + ".sku", "is missing: a text");
  parsed.sku = sku->get<std::string>();
  const bool printable =
      std::all_of(parsed.sku.begin(), parsed.sku.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (parsed.sku.empty() || parsed.sku.size() > 64 || !printable) {
    return unfit(path + ".sku", "must be 1 to 64 printable characters without spaces");
  }
  const auto quantity = whole_number(item, "quantity", path + ".quantity", 1, kQuantityMax);
  if (const auto* problem = std::get_if<OrderProblem>(&quantity)) return *problem;
  parsed.quantity = std::get<std::int64_t>(quantity);
  const auto price = whole_number(item, "price_cents", path + ".price_cents", 0, kPriceCentsMax);
  if (const auto* problem = std::get_if<OrderProblem>(&price)) return *problem;
  parsed.price_cents = std::get<std::int64_t>(price);
  return parsed;
}

}  // namespace

std::int64_t Order::total_cents() const {
  std::int64_t total = 0;
  for (const OrderItem& item : items) total += item.quantity * item.price_cents;
  return total;
}

std::variant<Order, OrderProblem> parse_order(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return OrderProblem{400, "", "the body is not JSON"};
  if (!document.is_object()) return unfit("", "an order is a JSON object with order, email and items");
  Order order;
  const auto number = whole_number(document, "order", "order", 1, kOrderNumberMax);
  if (const auto* problem = std::get_if<OrderProblem>(&number)) return *problem;
  order.number = static_cast<std::uint64_t>(std::get<std::int64_t>(number));

  const auto email = document.find("email");
  if (email == document.end() || !email->is_string())
    return unfit("email", "is missing: where the receipt goes");
  order.email = email->get<std::string>();
  if (!is_mailbox(order.email)) {
    return unfit("email", "is not a mail address like name@example.org");
  }

  const auto items = document.find("items");
  if (items == document.end() || !items->is_array()) return unfit("items", "is missing: a list");
  if (items->empty()) return unfit("items", "is empty: order something");
  if (items->size() > kItemsMax) {
    return unfit("items", fmt::format("has {} entries: at most {} in one order", items->size(), kItemsMax));
  }
  for (std::size_t i = 0; i < items->size(); ++i) {
    auto item = parse_item((*items)[i], i);
    if (const auto* problem = std::get_if<OrderProblem>(&item)) return *problem;
    order.items.push_back(std::get<OrderItem>(std::move(item)));
  }
  return order;
}

std::string money(std::int64_t cents) { return fmt::format("{}.{:02}", cents / 100, cents % 100); }

}  // namespace shop
