#include "examples/shop/mail_sender.hpp"

#include <curl/curl.h>

#include <cstring>
#include <string_view>

namespace shop {
namespace {

constexpr long kConnectTimeoutMs = 5'000;
constexpr long kSendTimeoutMs = 20'000;

// Curl's global state: made before the first handle, by whichever thread comes first.
struct CurlLibrary {
  CurlLibrary() { curl_global_init(CURL_GLOBAL_DEFAULT); }
  ~CurlLibrary() { curl_global_cleanup(); }
};

struct Upload {
  std::string_view rest;
};

std::size_t give_content(char* buffer, std::size_t size, std::size_t count, void* context) {
  auto* upload = static_cast<Upload*>(context);
  const std::size_t bytes = std::min(size * count, upload->rest.size());
  std::memcpy(buffer, upload->rest.data(), bytes);
  upload->rest.remove_prefix(bytes);
  return bytes;
}

// What the server said during one mail.
struct Replies {
  std::string last;     // "250 2.0.0 taken"
  std::string refusal;  // the last 4xx or 5xx line: the one that counts, as curl says QUIT afterwards
};

// Curl hands over every line that the server says.
std::size_t keep_reply(char* line, std::size_t size, std::size_t count, void* context) {
  auto* replies = static_cast<Replies*>(context);
  std::string_view text(line, size * count);
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
  if (!text.empty()) replies->last = text;
  if (text.starts_with('4') || text.starts_with('5')) replies->refusal = text;
  return size * count;
}

}  // namespace

struct MailSender::Handle {
  CURL* curl = curl_easy_init();
  Handle() = default;
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

MailSender::MailSender(std::string server) : server_(std::move(server)) {
  static const CurlLibrary library;
  handle_ = std::make_unique<Handle>();
}

MailSender::~MailSender() = default;

MailResult MailSender::send(const Mail& mail) {
  CURL* curl = handle_->curl;
  if (curl == nullptr) return {MailResult::Kind::try_later, "no memory for a connection"};
  curl_easy_reset(curl);  // keeps the connection

  Upload upload{mail.content};
  Replies replies;
  curl_slist* recipients = curl_slist_append(nullptr, mail.to.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, server_.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // threads: no alarm() for time limits
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kSendTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail.from.c_str());
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_content);
  curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_reply);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &replies);
  const CURLcode outcome = curl_easy_perform(curl);
  curl_slist_free_all(recipients);

  if (outcome == CURLE_OK) return {MailResult::Kind::sent, replies.last};
  if (replies.refusal.starts_with('5')) return {MailResult::Kind::refused, replies.refusal};
  if (replies.refusal.starts_with('4')) return {MailResult::Kind::try_later, replies.refusal};
  return {MailResult::Kind::try_later, server_ + ": " + curl_easy_strerror(outcome)};
}

}  // namespace shop
