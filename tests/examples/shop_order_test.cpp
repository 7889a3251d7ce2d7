// What the shop takes as an order, and what it says about everything else.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>

#include "examples/shop/order.hpp"

namespace shop {
namespace {

const std::string kGood =
    R"({"order":7,"email":"ada@example.org","items":[{"sku":"TEA","quantity":2,"price_cents":350}]})";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

OrderProblem problem_of(const std::string& json) {
  const auto parsed = parse_order(json);
  REQUIRE_MESSAGE(std::holds_alternative<OrderProblem>(parsed), json);
  return std::get<OrderProblem>(parsed);
}

TEST_CASE("a good order is read") {
  const auto parsed = parse_order(kGood);
  REQUIRE(std::holds_alternative<Order>(parsed));
  const Order& order = std::get<Order>(parsed);
  CHECK(order.number == 7);
  CHECK(order.email == "ada@example.org");
  REQUIRE(order.items.size() == 1);
  CHECK(order.items[0].sku == "TEA");
  CHECK(order.total_cents() == 700);
  CHECK(money(order.total_cents()) == "7.00");
}

TEST_CASE("what is not JSON is a bad request, what is not an order is unprocessable") {
  CHECK(problem_of("").http_status == 400);
  CHECK(problem_of("{").http_status == 400);
  CHECK(problem_of(std::string(60'000, '[')).http_status == 400);
  CHECK(problem_of("[]").http_status == 422);
  CHECK(problem_of("{}").field == "order");
}

TEST_CASE("each field is checked and named") {
  CHECK(problem_of(with("7", "0")).field == "order");
  CHECK(problem_of(with("7", "-1")).field == "order");
  CHECK(problem_of(with("7", "1.5")).field == "order");
  CHECK(problem_of(with("7", "\"7\"")).field == "order");
  CHECK(problem_of(with("7", "18446744073709551615")).field == "order");
  CHECK(problem_of(with(R"("email":"ada@example.org",)", "")).field == "email");
  CHECK(problem_of(with("[{", "{\"a\":[{").insert(kGood.size() + 5, "}")).field == "items");
  CHECK(problem_of(with(R"({"sku":"TEA","quantity":2,"price_cents":350})", "")).field == "items");
  CHECK(problem_of(with("{\"sku\"", "3,{\"sku\"")).field == "items[0]");
  CHECK(problem_of(with("\"TEA\"", "\"\"")).field == "items[0].sku");
  CHECK(problem_of(with("\"TEA\"", R"("TEA\nBcc: all")")).field == "items[0].sku");
  CHECK(problem_of(with(":2", ":0")).field == "items[0].quantity");
  CHECK(problem_of(with(":2", ":1001")).field == "items[0].quantity");
  CHECK(problem_of(with("350", "-1")).field == "items[0].price_cents");
  CHECK(problem_of(with("350", "100000001")).field == "items[0].price_cents");
}

TEST_CASE("no mail address can smuggle anything into a mail or an SMTP command") {
  for (const char* address :
       {"", "ada", "@example.org", "ada@", "ada@exa mple.org", "a b@example.org",
        R"(ada@example.org\r\nBcc: all@example.org)", "<ada@example.org>", "ada@example.org>",
        "ada@-example.org", "ada@example.org.", "ada@a@example.org", "ädä@example.org"}) {
    CAPTURE(address);
    CHECK(problem_of(with("ada@example.org", address)).field == "email");
  }
  CHECK(problem_of(with("ada", std::string(65, 'a'))).field == "email");
  CHECK(std::holds_alternative<Order>(parse_order(with("ada", "ada.l+shop"))));
}

TEST_CASE("an order has at most a hundred items") {
  const std::string item = R"({"sku":"TEA","quantity":2,"price_cents":350})";
  std::string items = item;
  for (int i = 1; i < 100; ++i) items += "," + item;
  CHECK(std::holds_alternative<Order>(parse_order(with(item, items))));
  CHECK(problem_of(with(item, items + "," + item)).field == "items");
}

}  // namespace
}  // namespace shop
