// Sends the shop's mails, receipts and some time later "how was it?": takes them from two queues, gives them to a mail
// server. With the weights 3 and 1 a heap of questions never holds up the receipts.
//
// What the mail server says decides: taken (2xx) is an ack; "try later" (4xx), or no answer, is an exception
// and so a failed attempt: the broker tries again after a growing pause; "never" (5xx) puts the job among the
// dead at once, with the server's own words, where `jobq dead ls receipts` shows them.
// A question that can never be delivered is dropped: nobody has to look after it.
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

// The same Message-ID however often it is sent: should this worker die between the mail server's OK and its ack, the mail
// goes out again, and mail programs show the two as one.
shop::Mail mail(const char* kind, std::uint64_t order, const std::string& to, const std::string& subject,
                const std::string& text, std::uint32_t attempt) {
  shop::Mail mail{kSender, to, {}};
  mail.content = fmt::format(
      "From: The Shop <{}>\r\nTo: <{}>\r\nSubject: {}\r\n"
      "Message-ID: <{}-{}@shop.example>\r\nDate: {}\r\nX-Attempt: {}\r\n\r\n",
      kSender, to, subject, kind, order, rfc5322_date(std::time(nullptr)), attempt);
  for (const char c : text) {
    if (c == '\n') mail.content += '\r';
    mail.content += c;
  }
  return mail;
}

shop::MailResult send(const std::string& mail_server, const shop::Mail& mail) {
  thread_local shop::MailSender sender(mail_server);  // one connection per worker thread, kept open
  return sender.send(mail);
}

void send_receipt(const std::string& mail_server, const shop::SendReceipt& receipt, jobq::Context& job) {
  const shop::MailResult result =
      send(mail_server,
           mail("receipt", receipt.order, receipt.to, fmt::format("Your receipt for order {}", receipt.order),
                receipt.text, job.attempt()));
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

void ask_how_it_was(const std::string& mail_server, const shop::AskHowItWas& survey, jobq::Context& job) {
  const shop::MailResult result =
      send(mail_server,
           mail("survey", survey.order, survey.to, fmt::format("How was it, order {}?", survey.order),
                "Did everything arrive, and in one piece? Answer with a word or two.\n", job.attempt()));
  if (result.kind == shop::MailResult::Kind::try_later) throw std::runtime_error(result.words);
}

}  // namespace

int main(int argc, char** argv) {
  std::string endpoint = "tcp://127.0.0.1:7710";
  std::string mail_server = "smtp://127.0.0.1:2525";
  std::size_t concurrency = 8;
  CLI::App app{"Sends the shop's mails"};
  app.add_option("--endpoint", endpoint, "the broker")->envname("JOBQ_ENDPOINT")->capture_default_str();
  app.add_option("--mail-server", mail_server, "smtp://HOST:PORT")->capture_default_str();
  app.add_option("--concurrency", concurrency, "mails at a time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  try {
    jobq::Worker worker(endpoint, {.queues = {{shop::kReceiptQueue, 3}, {shop::kSurveyQueue, 1}},
                                   .concurrency = concurrency});
    worker.on<shop::SendReceipt>([&](const shop::SendReceipt& receipt, jobq::Context& job) {
      send_receipt(mail_server, receipt, job);
    });
    worker.on<shop::AskHowItWas>([&](const shop::AskHowItWas& survey, jobq::Context& job) {
      ask_how_it_was(mail_server, survey, job);
    });
    worker.run();  // until SIGTERM or SIGINT: takes nothing new, finishes what it has begun
  } catch (const jobq::Error& error) {
    fmt::print(stderr, "receipt_worker: {}\n", error.what());
    return 1;
  }
  return 0;
}
