#pragma once
// What has been done of a quantization, kept beside its output so that a killed run goes on where it was.
//
//   job.json           what is being made; another job is refused
//   states-N.bin       the residual stream before layer N
//   journal.json       layers done, their reports, and hashes of the files they left
//
// Every file is written under a temporary name and renamed, journal.json last.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kvpareto {

// A folder that one process works in at a time; the system lets go of it when the process ends.
class FolderLock {
 public:
  // Throws Error (kFailure) if another holds it.
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

class Journal {
 public:
  // Of a job in `folder`, which is made if it is missing. Throws Error (kFailure) if it holds another job, or
  // if another process is at work there.
  Journal(const std::string& folder, const nlohmann::json& job);

  // Layers that are done and sound. Whatever is damaged makes it begin at 0, and why_restarted() says what it was.
  int layers() const { return static_cast<int>(entries_.size()); }
  const std::vector<nlohmann::json>& reports() const { return entries_; }
  const std::string& why_restarted() const { return why_restarted_; }
  // The residual stream behind the last finished layer.
  void restore(std::span<float> states) const;

  // Layer `layers()` is done: its shard (a file name in the folder) is written, `states` are what is behind it.
  void finish_layer(const std::string& shard, std::span<const float> states, nlohmann::json report);

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string states_name(size_t layer) const;
  void load();
  std::string find_damage(const nlohmann::json& journal) const;

  std::string folder_, why_restarted_;
  std::optional<FolderLock> lock_;
  std::vector<nlohmann::json> entries_;  // a layer each: "shard", "hash", "report"
  std::string states_hash_;
};

// Removes from a finished folder what only an unfinished one needs.
void remove_journal(const std::string& folder);

}  // namespace kvpareto
