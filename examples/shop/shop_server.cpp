// The shop's web server: takes orders and answers at once. What an order sets going happens behind it: its receipt and, some
// time later, a question how it was are mailed by receipt_worker; the warehouse's shell script takes the goods from stock
// (jobq-worker).
//
//   POST /checkout   an order as JSON -> 202 {"order", "job", "duplicate", "total"} as soon as all its jobs are on
//                    disk in the broker; 4xx {"error", "field"} says what is wrong with the order; 503 with
//                    Retry-After when the broker did not answer in time: post it again, an order has one
//                    receipt however often it comes
//   GET /healthz     200 {"status": "ok"}
#include <fmt/format.h>
#include <httplib.h>
#include <pthread.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "examples/shop/order.hpp"
#include "examples/shop/receipt.hpp"
#include "jobq/client.hpp"

namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::size_t kOrderBytesMax = std::size_t{64} << 10;
constexpr std::size_t kHttpThreads = 16;
constexpr auto kCheckoutDeadline = 3s;  // no customer waits longer, broker or no broker

std::string receipt_text(const shop::Order& order) {
  std::string text = fmt::format("Thank you for your order {}.\n\n", order.number);
  for (const shop::OrderItem& item : order.items) {
    text += fmt::format("{:>5} x {:<24} {:>12}\n", item.quantity, item.sku,
                        shop::money(item.quantity * item.price_cents));
  }
  text += fmt::format("{:>32} {:>12}\n", "total", shop::money(order.total_cents()));
  return text;
}

void answer(httplib::Response& response, int status, const json& body) {
  response.status = status;
  response.set_content(body.dump() + "\n", "application/json");
}

class Shop {
 public:
  Shop(const std::string& endpoint, std::chrono::milliseconds survey_delay)
      : client_(endpoint), survey_delay_(survey_delay) {}

  void checkout(const httplib::Request& request, httplib::Response& response) {
    const auto parsed = shop::parse_order(request.body);
    if (const auto* problem = std::get_if<shop::OrderProblem>(&parsed)) {
      const std::string& field = problem->field;
      answer(
          response, problem->http_status,
          {{"error", field.empty() ? problem->message : field + " " + problem->message}, {"field", field}});
      return;
    }
    enqueue_jobs(std::get<shop::Order>(parsed), response);
  }

 private:
  // The key makes a second posting of the order the same job, while it waits and for a day after it was done.
  static jobq::EnqueueOptions once_per_order(const char* what, const shop::Order& order) {
    jobq::EnqueueOptions options;
    options.unique_key = fmt::format("{}:{}", what, order.number);
    options.unique_for = 24h;
    options.timeout = kCheckoutDeadline;
    return options;
  }

  // A line per article: what a shell script reads without help.
  std::future<jobq::EnqueueResult> enqueue_stock(const shop::Order& order) {
    std::string lines;
    for (const shop::OrderItem& item : order.items) lines += fmt::format("{} {}\n", item.sku, item.quantity);
    jobq::EnqueueOptions options = once_per_order("stock", order);
    options.type = "TakeFromStock";
    options.headers = {{"order", std::to_string(order.number)}};
    return client_.enqueue_async(shop::kStockQueue, lines, options);
  }

  std::future<jobq::EnqueueResult> enqueue_survey(const shop::Order& order) {
    jobq::EnqueueOptions options = once_per_order("survey", order);
    options.delay = survey_delay_;
    options.expires_in = survey_delay_ + 7 * 24h;  // nobody remembers after that
    options.priority = 2;
    return client_.enqueue_async(shop::kSurveyQueue, shop::AskHowItWas{order.number, order.email}, options);
  }

  void enqueue_jobs(const shop::Order& order, httplib::Response& response) {
    // All three travel in one message. The order is taken when all are: should one be refused, or its fate be unknown,
    // the customer posts again, and each key makes sure that nothing is done twice.
    auto stock = enqueue_stock(order);
    auto survey = enqueue_survey(order);
    const jobq::EnqueueResult made = client_.try_enqueue(
        shop::kReceiptQueue, shop::SendReceipt{order.number, order.email, receipt_text(order)},
        once_per_order("receipt", order));
    for (const jobq::EnqueueResult& result : {made, stock.get(), survey.get()}) {
      if (result.ok()) continue;
      response.set_header("Retry-After", "1");
      answer(response, 503,
             {{"error", "the order could not be taken just now; post it again"},
              {"reason", result.status().text()}});
      return;
    }
    if (made->body_differs) {
      answer(response, 409,
             {{"error", fmt::format("order {} was posted before with another content", order.number)},
              {"field", "order"}});
      return;
    }
    answer(response, 202,
           {{"order", order.number},
            {"job", made->id},
            {"duplicate", made->duplicate},
            {"total", shop::money(order.total_cents())}});
  }

  jobq::Client client_;  // used by all of the server's threads at once
  std::chrono::milliseconds survey_delay_;
};

void add_routes(httplib::Server& server, Shop& shop) {
  server.Post("/checkout", [&shop](const httplib::Request& request, httplib::Response& response) {
    shop.checkout(request, response);
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    answer(response, 200, {{"status", "ok"}});
  });
  server.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;  // answered above
    const std::string what =
        response.status == 404   ? fmt::format("there is no {} {}", request.method, request.path)
        : response.status == 413 ? fmt::format("an order has at most {} bytes", kOrderBytesMax)
                                 : fmt::format("HTTP status {}", response.status);
    answer(response, response.status, {{"error", what}});
  });
}

// Whoever started this program waits for the file and then knows the port.
bool write_port(const std::string& path, int port) {
  std::ofstream(path + ".new") << port << '\n';
  return std::rename((path + ".new").c_str(), path.c_str()) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string endpoint = "tcp://127.0.0.1:7710";
  int port = 8080;
  std::string port_file;
  double survey_after_s = 14 * 24 * 3600;
  CLI::App app{"The shop's web server: POST /checkout, GET /healthz"};
  app.add_option("--endpoint", endpoint, "the broker")->envname("JOBQ_ENDPOINT")->capture_default_str();
  app.add_option("--port", port, "on 127.0.0.1; 0: any free one")->capture_default_str();
  app.add_option("--port-file", port_file, "write the port to this file when listening");
  app.add_option("--survey-after", survey_after_s,
                 "seconds after the order until the customer is asked how it was")
      ->check(CLI::Range(0.0, 365.0 * 24 * 3600))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  // Blocked before any thread exists, so that one thread can wait for them.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);

  Shop shop(endpoint, std::chrono::milliseconds{static_cast<std::int64_t>(survey_after_s * 1000)});
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kHttpThreads); };
  server.set_payload_max_length(kOrderBytesMax);
  // The library's default sets SO_REUSEPORT, and then a second shop on the same port would start without a
  // word.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  add_routes(server, shop);

  const bool bound =
      port == 0 ? (port = server.bind_to_any_port("127.0.0.1")) > 0 : server.bind_to_port("127.0.0.1", port);
  if (!bound) {
    fmt::print(stderr,
               "shop_server: cannot listen on 127.0.0.1:{}: is it in use? Choose another with --port\n",
               port);
    return 1;
  }
  if (!port_file.empty() && !write_port(port_file, port)) {
    fmt::print(stderr, "shop_server: cannot write {}\n", port_file);
    return 1;
  }
  std::thread stopper([&] {
    int signal = 0;
    sigwait(&stop_signals, &signal);
    server.stop();
  });
  fmt::print("shop_server: listening on http://127.0.0.1:{}, broker {}\n", port, endpoint);
  std::fflush(stdout);
  server.listen_after_bind();
  kill(getpid(), SIGTERM);  // for the case that listening ended by itself
  stopper.join();
  return 0;
}
