// What happens to a study when its writer is killed, the disk is full, or two write at once.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "base/random.h"
#include "base/testing.h"
#include "study/example_measurement.h"
#include "study/study.h"

namespace kvpareto {
namespace {
Measurement numbered(int number) { return example_measurement({"w16", "k8v8", number}, number); }

// Numbers that came through a pipe: what the writer was told is durable.
std::vector<int> acknowledged(int pipe) {
  std::vector<int> numbers;
  int number = 0;
  while (::read(pipe, &number, sizeof number) == sizeof number) numbers.push_back(number);
  return numbers;
}

TEST(StudySurvival, KilledAtAnyMomentNothingFinishedIsLost) {
  const TemporaryFolder folder;
  const std::string path = folder / "study.db";
  Random random(1);
  std::vector<int> promised;
  int rounds_cut_short = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = start_child([&] {
      Study study(path);
      for (int number = round * 10000 + 1;; ++number) {
        study.record(numbered(number));
        if (::write(ends[1], &number, sizeof number) != sizeof number) return 1;
      }
    });
    ::close(ends[1]);
    // Every other writer is left alone until it has finished one, however slow the machine; the rest may be killed
    // sooner.
    int first = 0;
    if (round % 2 == 1 && ::read(ends[0], &first, sizeof first) == sizeof first) promised.push_back(first);
    ::usleep(static_cast<useconds_t>(random.below(40'000)));
    ::kill(child, SIGKILL);
    ASSERT_EQ(wait_for_child(child), -SIGKILL);
    rounds_cut_short += std::filesystem::exists(path + "-journal") ? 1 : 0;
    for (const int number : acknowledged(ends[0])) promised.push_back(number);
    ::close(ends[0]);
    if (promised.empty()) continue;  // killed before there was a study
    const Study study = open_existing_study(path);
    for (const int number : promised) {
      const auto found = study.find(numbered(number).point, numbered(number).regime);
      ASSERT_TRUE(found) << "round " << round << ", measurement " << number;
      ASSERT_EQ(found->value("kld_mean"), number);
    }
    // At most one more a round: written, but killed before it could be told.
    EXPECT_LE(study.all().size(), promised.size() + static_cast<size_t>(round) + 1);
  }
  EXPECT_GE(promised.size(), 10u);
  EXPECT_GT(rounds_cut_short, 0) << "no kill hit a write: this test has shown nothing";
}

// Records until that fails, which must be said in one clear line; the number of measurements then kept, above 200 if
// something was wrong.
int record_until_full(const std::string& path, const std::string& reason) {
  Study study(path);
  for (int number = 2; number < 200; ++number) {
    const auto error = error_of([&] { study.record(numbered(number)); });
    if (!error) continue;
    const bool clear = error->what() == path + ": cannot write: " + reason + "; what was recorded before is kept";
    if (!clear || error->exit() != Exit::kFailure) return 201;
    return study.all().size() == static_cast<size_t>(number - 1) ? number - 1 : 202;
  }
  return 203;
}

// A limit on the size of files does what a quota does.
TEST(StudySurvival, AFullQuotaIsOneLineAndTheRestIsKept) {
  const TemporaryFolder folder;
  const std::string path = folder / "study.db";
  Study(path).record(numbered(1));
  const auto bytes = std::filesystem::file_size(path) + 20'000;
  const int kept = wait_for_child(start_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, bytes};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0
               ? record_until_full(path, "the system refused (quota, limit on file sizes or bad disk)")
               : 204;
  }));
  ASSERT_GT(kept, 1);
  ASSERT_LT(kept, 200);
  Study study(path);
  EXPECT_EQ(study.all().size(), static_cast<size_t>(kept));
  study.record(numbered(kept + 1));  // and there is room again
  EXPECT_EQ(study.all().size(), static_cast<size_t>(kept + 1));
}

TEST(StudySurvival, AFullDiskIsOneLineAndTheRestIsKept) {
  const TemporaryFolder folder;
  constexpr int kMayNotMount = 205;
  const int kept = wait_for_child(start_child([&] {
    // A file system of its own, gone with the child.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=100k") != 0) {
      return kMayNotMount;
    }
    Study(folder / "study.db").record(numbered(1));
    return record_until_full(folder / "study.db", "the disk is full");
  }));
  if (kept == kMayNotMount) GTEST_SKIP() << "may not mount a small file system here";
  EXPECT_GT(kept, 1);
  EXPECT_LT(kept, 200);
}

TEST(StudySurvival, AFullDiskAtTheFirstWrite) {
  const TemporaryFolder folder;
  const int code = wait_for_child(start_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 101;
    return message_of([&] { Study(folder / "study.db"); }).starts_with((folder / "study.db") + ": cannot write: ") ? 0
                                                                                                                   : 1;
  }));
  EXPECT_EQ(code, 0);
}

TEST(StudySurvival, ManyProcessesMayWriteAtOnce) {
  const TemporaryFolder folder;
  const std::string path = folder / "study.db";
  constexpr int kWriters = 4, kEach = 25;
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters; ++writer) {
    children.push_back(start_child([&] {
      Study study(path);  // all of them may be the one that creates it
      for (int i = 1; i <= kEach; ++i) {
        study.record(numbered(writer * 1000 + i));
        if (study.all().empty()) return 1;
      }
      return 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_EQ(open_existing_study(path).all().size(), static_cast<size_t>(kWriters * kEach));
}

}  // namespace
}  // namespace kvpareto
