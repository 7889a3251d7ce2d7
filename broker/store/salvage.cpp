#include "broker/store/salvage.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "broker/store/keys.hpp"
#include "libjobq/base/bytes.hpp"

namespace jobq::lmdb {
namespace {

// The value, when the checksum behind it fits this table.
std::optional<std::string_view> sound_value(Table table, std::string_view key, std::string_view stored) {
  if (stored.size() < kChecksumBytes) return std::nullopt;
  const std::string_view value = stored.substr(0, stored.size() - kChecksumBytes);
  if (get_big_endian<std::uint64_t>(stored.data() + value.size()) != checksum(table, key, value))
    return std::nullopt;
  return value;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes.substr(0, 64)) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// Rows of `meta` that this version does not know are none of its business.
bool is_meta(std::string_view key, std::string_view value) {
  if (key == meta_key::kMark) return decode_mark(value).mark.next_job.is_set();
  if (key == meta_key::kFormat) decode_format(value);
  return true;
}

std::string range_text(const LostKeys& lost) {
  if (lost.from.empty() && lost.below.empty()) return "all its rows";
  return fmt::format("rows from {} up to {}", lost.from.empty() ? "the first" : hex(lost.from),
                     lost.below.empty() ? "the last" : hex(lost.below));
}

}  // namespace

Salvage::Salvage(const std::string& file) : file_(file) {
  if (!file_.head_damage().empty()) page_texts.push_back(file_.head_damage());
  const bool list_whole = file_.lost_tables().empty();
  for (std::size_t index = 0; index < kTables; ++index) {
    const auto table = static_cast<Table>(index);
    const auto root = file_.table_root(table);
    last_key_[index].clear();
    if (!root) {
      note_lost(table,
                {{}, {}, 0, list_whole ? "the store does not name it" : "the list of tables is damaged"});
      continue;
    }
    file_.walk(
        *root, [&](const StoredRow& row) { take(table, row); },
        [&](const LostKeys& lost) { note_lost(table, lost); });
  }
  const bool any = std::any_of(lost_.begin(), lost_.end(), [](const auto& lost) { return !lost.empty(); });
  // Pages that a lost page led to. Only where those that are free are known: they hold old rows.
  if (any && file_.free_pages_known()) {
    file_.orphans([&](const StoredRow& row) {
      for (std::size_t index = 0; index < kTables; ++index) {
        const auto table = static_cast<Table>(index);
        const auto value = sound_value(table, row.key, row.stored);
        if (value && keep(table, row.key, *value, row.place)) return;
      }
    });
  } else if (any) {
    page_texts.push_back("the list of free pages is damaged: pages that no tree leads to were not searched");
  }
  std::stable_sort(jobs.begin(), jobs.end(), [](const SalvagedJob& a, const SalvagedJob& b) {
    return a.job != b.job ? a.job < b.job : a.moved && !b.moved;
  });
}

void Salvage::note_lost(Table table, LostKeys lost) {
  ++unread_pages;
  page_texts.push_back(fmt::format("table {}: {} may be lost: page {}: {}", name_of(table), range_text(lost),
                                   lost.page, lost.why));
  open_lost_[static_cast<std::size_t>(table)] = 0;
  lost_[static_cast<std::size_t>(table)].push_back(std::move(lost));
}

void Salvage::take(Table table, const StoredRow& row) {
  std::string& last = last_key_[static_cast<std::size_t>(table)];
  if (const auto value = sound_value(table, row.key, row.stored)) {
    last = row.key;
    auto& lost = lost_[static_cast<std::size_t>(table)];
    std::size_t& open = open_lost_[static_cast<std::size_t>(table)];
    for (; open > 0; --open) lost[lost.size() - open].below = last;
    if (keep(table, row.key, *value, row.place)) return;
    damaged_rows.push_back({table, std::string(row.key), "it cannot be understood"});
    lost.push_back({last, {}, row.place.page, "a row that cannot be understood"});
    ++open;
    return;
  }
  // Through a wrong number of a page a tree may lead to another table's rows.
  for (std::size_t index = 0; index < kTables; ++index) {
    const auto other = static_cast<Table>(index);
    const auto value = other == table ? std::nullopt : sound_value(other, row.key, row.stored);
    if (value && keep(other, row.key, *value, row.place)) return;
  }
  damaged_rows.push_back({table, std::string(row.key), "its checksum does not fit"});
  // Its key may be what is damaged.
  lost_[static_cast<std::size_t>(table)].push_back({last, {}, row.place.page, "a damaged row"});
  ++open_lost_[static_cast<std::size_t>(table)];
}

// False: not a row that this table has. The first of two rows with the same key counts.
bool Salvage::keep(Table table, std::string_view key, std::string_view value, const RowPlace& place) {
  const auto small = [&](auto* rows, bool is_one) {
    if (is_one) rows->emplace(key, value);
    return is_one;
  };
  try {
    switch (table) {
      case Table::meta:
        return small(&meta, is_meta(key, value));
      case Table::queues:
        return small(&queues, parse_number_key(key).has_value());
      case Table::counters:
        decode_counters(value);
        return small(&counters, parse_number_key(key).has_value());
      case Table::types:
        return small(&types, parse_number_key(key).has_value());
      case Table::dead:
        decode_dead(value);
        return small(&dead, parse_dead_key(key).has_value());
      case Table::unique:
        decode_unique(value);
        return small(&unique, key.size() > 4 && key.size() <= 4 + limits::kUniqueKeyBytesMax);
      case Table::producers:
        decode_producer(value);
        return small(&producers, key.size() == sizeof(ProducerId));
      case Table::answers:
        return small(&answers, parse_answer_key(key).has_value() && !decode_answers(value).empty());
      case Table::finished:
        decode_finished(value);
        return small(&finished, key.size() == 12);
      case Table::finished_by_job:
      case Table::lanes:
      case Table::lane_index:
        return true;  // made anew from the others
      case Table::jobs:
      case Table::moved: {
        const auto job = parse_job_key(key);
        if (!job || !job->is_set() || !decode_record(*job, value)) return false;
        jobs.push_back({*job, place, table == Table::moved});
        return true;
      }
      case Table::bodies:
        bodies.emplace(key, place);
        return key.size() == 10;
      case Table::attempts:
        decode_attempt(value);
        attempts.emplace(key, place);
        return key.size() == 10;
      case Table::progress: {
        const auto job = parse_job_key(key);
        decode_progress(value);
        if (job) progress.emplace(job->value, place);
        return job.has_value();
      }
      case Table::blocks: {
        const auto no = parse_block_key(key);
        if (!no) return false;
        BlockState state;
        decode_block_row(value, &state);
        BlockState& block = blocks[*no];
        if (!block_rows.insert(*no).second) return true;
        state.leased = block.leased;
        state.leases = block.leases;
        block = state;
        return true;
      }
      case Table::leases: {
        const auto no = parse_block_key(key);
        if (!no || !leases_seen_.insert(*no).second) return no.has_value();
        BlockState state;
        decode_lease_row(value, &state);
        BlockState& block = blocks[*no];
        block.leased = state.leased;
        block.leases = state.leases;
        return true;
      }
      case Table::timers: {
        const auto timer = parse_timer_key(key);
        if (timer && timer->kind == TimerKind::due && any_lost(Table::blocks)) timers.push_back(*timer);
        return timer.has_value();
      }
    }
  } catch (const StoreError& error) {
    if (error.problem() == StoreProblem::newer_format) throw;
    return false;
  }
  return false;
}

bool Salvage::may_be_lost(Table table, std::string_view key) const {
  return std::any_of(lost(table).begin(), lost(table).end(), [&](const LostKeys& lost) {
    return key >= lost.from && (lost.below.empty() || key < lost.below);
  });
}

std::optional<std::string_view> Salvage::value_at(Table table, const RowPlace& place) {
  const auto row = file_.row_at(place);
  if (!row) return std::nullopt;
  return sound_value(table, row->key, row->stored);
}

}  // namespace jobq::lmdb
