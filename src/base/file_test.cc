#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "base/mapped_file.h"
#include "base/testing.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

size_t files_in(const TemporaryFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

TEST(File, WritesWhatItReads) {
  const TemporaryFolder folder;
  const std::string contents("zero \0 and line\n", 16);
  write_file(folder / "a", contents);
  EXPECT_EQ(read_file(folder / "a"), contents);
  write_file(folder / "a", "shorter");
  EXPECT_EQ(read_file(folder / "a"), "shorter");
  EXPECT_EQ(files_in(folder), 1u);
}

TEST(File, IsReadByPiecesAndSaysWhereItEnds) {
  const TemporaryFolder folder;
  write_file(folder / "a", "0123456789");
  const FileReader file(folder / "a");
  std::vector<uint8_t> piece(4);
  file.read(3, piece);
  EXPECT_EQ(std::string(piece.begin(), piece.end()), "3456");
  const auto beyond = error_of([&] { file.read(8, piece); });
  ASSERT_TRUE(beyond);
  EXPECT_EQ(beyond->exit(), Exit::kFailure);
  EXPECT_THAT(beyond->what(), HasSubstr("a: wanted 2 bytes at 10, where the file ends now"));
  const auto missing = error_of([&] { FileReader(folder / "b"); });
  ASSERT_TRUE(missing);
  EXPECT_THAT(missing->what(), HasSubstr("b: cannot open: No such file"));
}

TEST(File, NowhereToWrite) {
  const TemporaryFolder folder;
  const std::string path = folder / "missing/a";
  const auto error = error_of([&] { write_file(path, "x"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit(), Exit::kFailure);
  EXPECT_EQ(error->what(), path + ": cannot write: No such file or directory");
}

TEST(File, WritableIsKnownBefore) {
  const TemporaryFolder folder;
  EXPECT_FALSE(error_of([&] { require_writable(folder / "a"); }));
  EXPECT_EQ(files_in(folder), 0u);
  const std::string path = folder / "missing/a";
  EXPECT_EQ(message_of([&] { require_writable(path); }), path + ": cannot write: No such file or directory");
  fs::create_directory(folder / "b");
  EXPECT_THAT(message_of([&] { require_writable(folder / "b"); }), HasSubstr("/b: cannot write: it is a folder"));
}

TEST(File, ADirectoryIsNotReplaced) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "a");
  EXPECT_THAT(message_of([&] { write_file(folder / "a", "x"); }),
              AllOf(HasSubstr("/a: cannot write: "), Not(HasSubstr("\n"))));
  EXPECT_TRUE(fs::is_directory(folder / "a"));
  EXPECT_EQ(files_in(folder), 1u);  // the temporary file is gone
}

// A limit on the size of files stands in for a full disk: the old contents stay whole and nothing is left behind.
TEST(File, HalfAWriteLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file(folder / "a", "old");
  const pid_t child = start_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const std::string message = message_of([&] { write_file(folder / "a", std::string(5000, 'x')); });
    return message == (folder / "a") + ": cannot write 5000 bytes: File too large" ? 0 : 2;
  });
  EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(files_in(folder), 1u);
}

// A writer is killed again and again; a reader finds one whole version or the other.
TEST(File, AKilledWriterNeverLeavesHalfAFile) {
  const TemporaryFolder folder;
  const std::string versions[] = {std::string(50000, 'a'), std::string(80000, 'b')};
  write_file(folder / "a", versions[0]);
  for (int kill_after_us = 0; kill_after_us < 5000; kill_after_us += 500) {
    const pid_t child = start_child([&] {
      for (int i = 0;; ++i) write_file(folder / "a", versions[i % 2]);
      return 0;
    });
    ::usleep(static_cast<useconds_t>(kill_after_us));
    ::kill(child, SIGKILL);
    EXPECT_EQ(wait_for_child(child), -SIGKILL);
    const std::string found = read_file(folder / "a");
    EXPECT_TRUE(found == versions[0] || found == versions[1]) << found.size() << " bytes";
  }
}

TEST(MappedFile, SaysWhatItFoundInstead) {
  const TemporaryFolder folder;
  std::ofstream(folder / "empty").close();
  const auto message = [](const std::string& path) { return message_of([&] { MappedFile file(path); }); };
  EXPECT_EQ(message(folder / "missing"), (folder / "missing") + ": cannot open: No such file or directory");
  EXPECT_EQ(message(folder.path()), folder.path() + ": wanted a file, found a directory");
  EXPECT_EQ(message(folder / "empty"), (folder / "empty") + ": the file is empty");
  EXPECT_EQ(message("/dev/null"), "/dev/null: wanted a regular file, found something else");
  EXPECT_THAT(message(""), HasSubstr("cannot open"));
  EXPECT_EQ(error_of([&] { MappedFile file(folder / "missing"); })->exit(), Exit::kFailure);
}

TEST(MappedFile, MovesAndReleases) {
  const TemporaryFolder folder;
  std::string contents(20000, ' ');
  for (size_t i = 0; i < contents.size(); ++i) contents[i] = static_cast<char>(i % 251);
  write_file(folder / "a", contents);
  MappedFile first(folder / "a");
  const MappedFile file(std::move(first));
  EXPECT_EQ(file.path(), folder / "a");
  file.release(1, 19998);
  file.release(0, 20000);
  file.release(19999, 1);
  ASSERT_EQ(file.bytes().size(), contents.size());
  EXPECT_TRUE(std::equal(contents.begin(), contents.end(), reinterpret_cast<const char*>(file.bytes().data())));
}

}  // namespace
}  // namespace kvpareto
