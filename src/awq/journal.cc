#include "awq/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mapped_file.h"

namespace kvpareto {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kJob = "job.json", *kJournal = "journal.json", *kLock = "lock";

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string hash_of(const void* data, size_t bytes) { return fingerprint(hash_bytes(data, bytes)); }

// Of a journal's own words.
std::string hash_of_words(const json& layers, const json& states) {
  return fingerprint(hash_text(layers.dump(), hash_text(states.dump())));
}

std::string hash_of_file(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) || fs::file_size(path, ignored) == 0) return "";
  const MappedFile file(path);
  return hash_of(file.bytes().data(), file.bytes().size());
}

}  // namespace

FolderLock::FolderLock(const std::string& folder) {
  const std::string path = folder + "/" + kLock;
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("{}: cannot write: {}", path, std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(descriptor_);
  fail("{}: another process is at work there", folder);
}

FolderLock::~FolderLock() { ::close(descriptor_); }

Journal::Journal(const std::string& folder, const json& job) : folder_(folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) fail("{}: cannot be made: {}", folder, problem.message());
  lock_.emplace(folder);
  // Left by a run that was killed while it wrote.
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".tmp") fs::remove(entry.path(), problem);
  }
  if (exists(path(kJob))) {
    const json found = json::parse(read_file(path(kJob)), nullptr, false);
    if (found != job)
      fail("{}: holds another, unfinished quantization; finish it with its own options, or remove it", folder);
    load();
    return;
  }
  if (std::distance(fs::directory_iterator(folder), fs::directory_iterator()) > 1) {
    fs::remove(path(kLock), problem);
    fail("{}: is not an unfinished quantization; remove it, or write elsewhere", folder);
  }
  write_file(path(kJob), job.dump(2) + "\n");
}

std::string Journal::states_name(size_t layer) const { return fmt::format("states-{}.bin", layer); }

void Journal::load() {
  if (!exists(path(kJournal))) return;
  const json journal = json::parse(read_file(path(kJournal)), nullptr, false);
  why_restarted_ = find_damage(journal);
  if (!why_restarted_.empty()) return;
  for (const json& entry : journal["layers"]) entries_.push_back(entry);
  states_hash_ = journal["states"].get<std::string>();
}

// What is wrong with the files that the journal tells of; empty if nothing is.
std::string Journal::find_damage(const json& journal) const {
  const auto is_text = [](const json& object, const char* name) {
    return object.is_object() && object.contains(name) && object[name].is_string();
  };
  const bool whole = is_text(journal, "states") && is_text(journal, "hash") && journal.contains("layers") &&
                     journal["layers"].is_array();
  if (!whole || journal["hash"] != hash_of_words(journal["layers"], journal["states"])) {
    return fmt::format("{} is damaged", kJournal);
  }
  const json& layers = journal["layers"];
  for (const json& entry : layers) {
    if (!is_text(entry, "shard") || !is_text(entry, "hash") || !entry.contains("report"))
      return fmt::format("{} is damaged", kJournal);
    const std::string shard = entry["shard"];
    if (hash_of_file(path(shard)) != entry["hash"]) return fmt::format("{} is damaged", shard);
  }
  const std::string states = states_name(layers.size());
  if (hash_of_file(path(states)) != journal["states"]) return fmt::format("{} is damaged", states);
  return "";
}

void Journal::restore(std::span<float> states) const {
  const std::string name = path(states_name(entries_.size()));
  const MappedFile file(name);
  if (file.bytes().size() != states.size_bytes()) {
    fail("{}: wanted {} bytes, found {}; remove the folder", name, states.size_bytes(), file.bytes().size());
  }
  std::memcpy(states.data(), file.bytes().data(), states.size_bytes());
}

void Journal::finish_layer(const std::string& shard, std::span<const float> states, json report) {
  entries_.push_back({{"shard", shard}, {"hash", hash_of_file(path(shard))}, {"report", std::move(report)}});
  states_hash_ = hash_of(states.data(), states.size_bytes());
  write_file(path(states_name(entries_.size())), {reinterpret_cast<const char*>(states.data()), states.size_bytes()});
  write_file(
      path(kJournal),
      json{{"layers", entries_}, {"states", states_hash_}, {"hash", hash_of_words(entries_, states_hash_)}}.dump() +
          "\n");
  std::error_code ignored;
  fs::remove(path(states_name(entries_.size() - 1)), ignored);
}

void remove_journal(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    if (name == kJob || name == kJournal || name == kLock || name.starts_with("states-"))
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace kvpareto
