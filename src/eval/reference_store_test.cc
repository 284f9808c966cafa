#include "eval/reference_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/testing.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;

const std::vector<int32_t> kTokens = {1, 2, 3}, kOthers = {1, 2, 4};
const std::vector<float> kStates = {0.5f, -1, 3e-20f};

ReferenceKey some_key() { return {7, kTokens, 2, 1, 1, 256, "cpu/avx2"}; }

TEST(ReferenceStore, GivesBackWhatWasKeptUnderTheSameKeyAlone) {
  const TemporaryFolder folder;
  const ReferenceStore store(folder / "a/b");
  EXPECT_FALSE(store.find(some_key(), 3));
  store.keep(some_key(), kStates);
  EXPECT_EQ(ReferenceStore(folder / "a/b").find(some_key(), 3), kStates);
  EXPECT_FALSE(store.find(some_key(), 4));
  ReferenceKey other = some_key();
  other.model = 8;
  EXPECT_FALSE(store.find(other, 3));
  other = some_key();
  other.tokens = kOthers;
  EXPECT_FALSE(store.find(other, 3));
  for (int ReferenceKey::*number :
       {&ReferenceKey::prefill, &ReferenceKey::scored, &ReferenceKey::step, &ReferenceKey::chunk}) {
    other = some_key();
    other.*number += 1;
    EXPECT_FALSE(store.find(other, 3));
  }
  other = some_key();
  other.backend = "cpu/portable";
  EXPECT_FALSE(store.find(other, 3));
}

TEST(ReferenceStore, DamagedFilesAreNone) {
  const TemporaryFolder folder;
  const ReferenceStore store(folder.path());
  store.keep(some_key(), kStates);
  const std::string path = fs::directory_iterator(folder.path())->path().string();
  std::string bytes = read_file(path);
  bytes[1] ^= 1;
  write_file(path, bytes);
  EXPECT_FALSE(store.find(some_key(), 3));
  write_file(path, bytes.substr(0, 5));
  EXPECT_FALSE(store.find(some_key(), 3));
  store.keep(some_key(), kStates);
  EXPECT_TRUE(store.find(some_key(), 3));
}

TEST(ReferenceStore, TheOldestGoWhenAllAreTooMuch) {
  const TemporaryFolder folder;
  const ReferenceStore store(folder.path(), 2 * (kStates.size() * sizeof(float) + sizeof(uint64_t)));
  ReferenceKey key = some_key();
  for (int i = 0; i < 3; ++i) {
    key.prefill = 10 + i;
    store.keep(key, kStates);
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      fs::last_write_time(entry.path(), entry.last_write_time() - std::chrono::seconds(10));
    }
  }
  EXPECT_TRUE(store.find(key, 3));
  key.prefill = 10;
  EXPECT_FALSE(store.find(key, 3));
}

TEST(ReferenceStore, WithoutAFolderNothingIsKept) {
  const ReferenceStore store;
  store.keep(some_key(), kStates);
  EXPECT_FALSE(store.find(some_key(), 3));
  const TemporaryFolder folder;
  write_file(folder / "file", "x");
  const ReferenceStore hindered(folder / "file");
  hindered.keep(some_key(), kStates);
  EXPECT_FALSE(hindered.find(some_key(), 3));
}

}  // namespace
}  // namespace kvpareto
