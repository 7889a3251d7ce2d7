// Sends mails by SMTP and says what the mail server answered. Keeps its connection open between mails.
// Not thread-safe: one object per thread.
#pragma once

#include <memory>
#include <string>

namespace shop {

struct Mail {
  std::string from, to;  // bare addresses: name@example.org
  std::string content;   // headers, an empty line, text; lines end in \r\n
};

// The server's answer decides what to do: 2xx sent; 4xx or no answer at all: later; 5xx: never.
struct MailResult {
  enum class Kind { sent, try_later, refused };
  Kind kind = Kind::try_later;
  std::string words;  // the server's own words, or what is wrong with the connection
};

class MailSender {
 public:
  // "smtp://127.0.0.1:2525"
  explicit MailSender(std::string server);
  ~MailSender();
  MailSender(const MailSender&) = delete;
  MailSender& operator=(const MailSender&) = delete;

  // Blocks for at most 20 s. `sent` means that the server has taken the mail. After `try_later` because of a
  // broken connection the server may have taken it all the same: SMTP cannot tell, and nobody can.
  MailResult send(const Mail& mail);

 private:
  struct Handle;
  std::string server_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace shop
