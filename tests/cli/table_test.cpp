#include "cli/table.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace jobq::cli;

TEST_CASE("columns are aligned and lines end without blanks") {
  Table table({{"QUEUE", Align::left}, {"READY", Align::right}, {"PAUSED", Align::left}});
  table.add({"receipts", "1,234", ""});
  table.add({"e", "7", "paused"});
  CHECK(table.render(0) ==
        "QUEUE     READY  PAUSED\n"
        "receipts  1,234\n"
        "e             7  paused\n");
}

TEST_CASE("only the last column is cut to the terminal, and never to nothing") {
  Table table({{"ID", Align::left}, {"ERROR", Align::left}});
  table.add({"j1", "550 no such mailbox here"});
  CHECK(table.render(20) == "ID  ERROR\nj1  550 no such mai…\n");
  CHECK(table.render(3) == "ID  ERROR\nj1  550 no such…\n");
  CHECK(table.render(0) == "ID  ERROR\nj1  550 no such mailbox here\n");
}

TEST_CASE("letters of more than one byte count once") {
  Table table({{"A", Align::left}, {"B", Align::left}});
  table.add({"Zürich", "x"});
  table.add({"Bern..", "y"});
  CHECK(table.render(0) == "A       B\nZürich  x\nBern..  y\n");
  CHECK(cut("Zürich", 3) == "Zü…");
  CHECK(cut("Zür", 3) == "Zür");
}

TEST_CASE("text of others cannot move the cursor, forge lines or break the encoding") {
  CHECK(printable("a\nb\tc\r") == "a\\nb\\tc\\r");
  CHECK(printable("\x1b[2J") == "\\x1b[2J");
  CHECK(printable("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\xc2\\x9b31m");  // CSI as one C1 character
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\xc0\x80") == "\\xc0\\x80");           // overlong NUL
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable(std::string("\0", 1)) == "\\x00");
  CHECK(is_utf8("caf\xc3\xa9"));
  CHECK(!is_utf8("caf\xc3"));
}

TEST_CASE("numbers for people") {
  CHECK(group_digits(0) == "0");
  CHECK(group_digits(999) == "999");
  CHECK(group_digits(1'000) == "1,000");
  CHECK(group_digits(1'234'567) == "1,234,567");
  CHECK(group_digits(-1'234) == "-1,234");
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(1536) == "1.5 KiB");
  CHECK(format_bytes(16LL << 30) == "16 GiB");
  CHECK(format_bytes((1LL << 20) - 1) == "1.0 MiB");
  CHECK(format_rate(0) == "0");
  CHECK(format_rate(0.001) == "<0.01");
  CHECK(format_rate(0.25) == "0.25");
  CHECK(format_rate(12.5) == "12.5");
  CHECK(format_rate(1234.4) == "1,234");
  CHECK(format_percent(0, 0) == "-");
  CHECK(format_percent(0, 10) == "0 %");
  CHECK(format_percent(1, 1'000'000) == "<0.1 %");
  CHECK(format_percent(2, 1000) == "0.2 %");
  CHECK(format_percent(1, 8) == "12 %");
  CHECK(format_percent(10, 10) == "100 %");
}

TEST_CASE("a table that is too wide takes short titles, then leaves columns out") {
  Table table({{"QUEUE", Align::left},
               {"SCHEDULED", Align::right, "SCHED"},
               {"FAILED", Align::right, "", 1},
               {"SLOTS", Align::right, "", 2},
               {"DEAD", Align::right}});
  table.add({"receipts", "1", "2 %", "8", "3"});
  CHECK(table.render(0) ==
        "QUEUE     SCHEDULED  FAILED  SLOTS  DEAD\nreceipts          1     2 %      8     3\n");
  CHECK(table.render(40) == table.render(0));
  CHECK(table.render(39) == "QUEUE     SCHED  FAILED  SLOTS  DEAD\nreceipts      1     2 %      8     3\n");
  CHECK(table.render(30) == "QUEUE     SCHED  FAILED  DEAD\nreceipts      1     2 %     3\n");
  CHECK(table.render(25) == "QUEUE     SCHED  DEAD\nreceipts      1     3\n");
  CHECK(table.render(5) == table.render(25));  // What may not go stays.
}

TEST_CASE("sentences are broken at spaces") {
  CHECK(wrap("one two three", 0, 2) == "one two three");
  CHECK(wrap("one two three", 8, 2) == "one two\n  three");
  CHECK(wrap("one two three", 3, 0) == "one\ntwo\nthree");
  CHECK(wrap("extraordinarily long", 5, 1) == "extraordinarily\n long");
  CHECK(wrap("", 5, 1).empty());
}

TEST_CASE("one job, two jobs") {
  CHECK(count_of(1, "job", "jobs") == "1 job");
  CHECK(count_of(0, "job", "jobs") == "0 jobs");
  CHECK(count_of(1234, "job", "jobs") == "1,234 jobs");
}
