// Sends the receipts of the shop: takes them from the queue, gives them to a mail server.
//
// What the mail server says decides: taken (2xx) is an ack; "try later" (4xx), or no answer, is an exception
// and so a failed attempt: the broker tries again after a growing pause; "never" (5xx) puts the job among the
// dead at once, with the server's own words, where `jobq dead ls receipts` shows them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <stdexcept>

#include "examples/shop/mail_sender.hpp"
#include "examples/shop/receipt.hpp"
#include "jobq/worker.hpp"

namespace {

constexpr const char* kSender = "shop@shop.example";

std::string rfc5322_date(std::time_t now) {
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[64];
  const std::size_t length = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &utc);
  return {text, length};
}

shop::Mail receipt_mail(const shop::SendReceipt& receipt, std::uint32_t attempt) {
  shop::Mail mail{kSender, receipt.to, {}};
  // The same Message-ID however often it is sent: should this worker die between the mail server's OK and its
  // ack, the receipt goes out again, and mail programs show the two as one.
  mail.content = fmt::format(
      "From: The Shop <{}>\r\nTo: <{}>\r\nSubject: Your receipt for order {}\r\n"
      "Message-ID: <receipt-{}@shop.example>\r\nDate: {}\r\nX-Attempt: {}\r\n\r\n",
      kSender, receipt.to, receipt.order, receipt.order, rfc5322_date(std::time(nullptr)), attempt);
  for (const char c : receipt.text) {
    if (c == '\n') mail.content += '\r';
    mail.content += c;
  }
  return mail;
}

void send_receipt(const std::string& mail_server, const shop::SendReceipt& receipt, jobq::Context& job) {
  thread_local shop::MailSender sender(mail_server);  // one connection per worker thread, kept open
  const shop::MailResult result = sender.send(receipt_mail(receipt, job.attempt()));
  switch (result.kind) {
    case shop::MailResult::Kind::sent:
      return;
    case shop::MailResult::Kind::try_later:
      throw std::runtime_error(result.words);
    case shop::MailResult::Kind::refused:
      job.reject(result.words);
      return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string endpoint = "tcp://127.0.0.1:7710";
  std::string mail_server = "smtp://127.0.0.1:2525";
  std::size_t concurrency = 8;
  CLI::App app{"Sends the shop's receipts"};
  app.add_option("--endpoint", endpoint, "the broker")->envname("JOBQ_ENDPOINT")->capture_default_str();
  app.add_option("--mail-server", mail_server, "smtp://HOST:PORT")->capture_default_str();
  app.add_option("--concurrency", concurrency, "mails at a time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  try {
    jobq::Worker worker(endpoint, {.queues = {shop::kReceiptQueue}, .concurrency = concurrency});
    worker.on<shop::SendReceipt>([&](const shop::SendReceipt& receipt, jobq::Context& job) {
      send_receipt(mail_server, receipt, job);
    });
    worker.run();  // until SIGTERM or SIGINT: takes nothing new, finishes what it has begun
  } catch (const jobq::Error& error) {
    fmt::print(stderr, "receipt_worker: {}\n", error.what());
    return 1;
  }
  return 0;
}
