#include "study/study.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/file.h"
#include "base/testing.h"
#include "study/example_measurement.h"

namespace kvpareto {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class StudyTest : public ::testing::Test {
 protected:
  // The text of what opening says, checked to be one line that begins with the path and means failure.
  std::string refusal(const std::string& path, bool existing = false) {
    const auto error = error_of([&] { existing ? open_existing_study(path) : Study(path); });
    if (!error) return "no error";
    EXPECT_EQ(error->exit(), Exit::kFailure);
    EXPECT_THAT(error->what(), AllOf(StartsWith(path + ": "), Not(HasSubstr("\n"))));
    return error->what();
  }
  std::string refusal_to_read(const std::string& path) { return refusal(path, true); }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "study.db";
};

TEST_F(StudyTest, KeepsWhatIsRecorded) {
  const Measurement m = example_measurement();
  {
    Study study(path_);
    EXPECT_TRUE(study.all().empty());
    study.record(m);
  }
  Study study(path_);
  EXPECT_EQ(study.path(), path_);
  ASSERT_EQ(study.all().size(), 1u);
  const auto found = study.find(m.point, m.regime);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->regime, m.regime);
  EXPECT_EQ(found->value("kld_mean"), m.value("kld_mean"));
  EXPECT_FALSE(study.find({"w16", "k8v4g64", 512}, m.regime));
}

TEST_F(StudyTest, IsOneFileBetweenWrites) {
  Study study(path_);
  study.record(example_measurement());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

TEST_F(StudyTest, WhatIsFittedToNothingIsFoundWhateverOthersAreFittedTo) {
  Study study(path_);
  Measurement plain = example_measurement(), fitted = plain;
  fitted.point.weights = "w4g128.awq";
  fitted.regime.calibration = "a novel";
  study.record(plain);
  study.record(fitted);
  Regime novel = plain.regime, sums = plain.regime;
  novel.calibration = "a novel";
  sums.calibration = "sums";
  EXPECT_TRUE(study.find(plain.point, novel));
  EXPECT_TRUE(study.find(plain.point, sums));
  EXPECT_TRUE(study.find(fitted.point, novel));
  EXPECT_FALSE(study.find(fitted.point, sums));
  EXPECT_EQ(study.all(novel).size(), 2u);
  EXPECT_EQ(study.all(sums).size(), 1u);
  EXPECT_EQ(study.all(plain.regime).size(), 1u);
}

TEST_F(StudyTest, OnlyEqualCircumstancesAreFound) {
  Study study(path_);
  Measurement m = example_measurement();
  study.record(m);
  Regime other = m.regime;
  other.prefill = 2048;
  EXPECT_FALSE(study.find(m.point, other));
  EXPECT_TRUE(study.all(other).empty());
  Regime renamed = m.regime;
  renamed.model = "copy of it.gguf";
  EXPECT_TRUE(study.find(m.point, renamed));
  m.regime = other;
  study.record(m);
  EXPECT_EQ(study.all().size(), 2u);
  EXPECT_EQ(study.all(other).size(), 1u);
}

TEST_F(StudyTest, ALaterMeasurementTakesThePlaceAndGoesLast) {
  Study study(path_);
  const Point a{"w16", "k8v8", 256}, b{"w16", "k4v4", 256};
  Measurement failed = example_measurement(a);
  failed.state = State::kFailed;
  failed.reason = "killed by the moon";
  study.record(failed);
  study.record(example_measurement(b));
  study.record(example_measurement(a, 0.5));
  const auto all = study.all();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].point, b);
  EXPECT_EQ(all[1].point, a);
  EXPECT_EQ(all[1].state, State::kDone);
  EXPECT_EQ(all[1].value("kld_mean"), 0.5);
}

TEST_F(StudyTest, RefusesAPointThatWouldNotReadBack) {
  Study study(path_);
  for (const Point& point : {Point{"w_16", "k8v8", 256}, Point{"w16", "k8 v8", 256}, Point{"w16", "k8v8", 0}}) {
    EXPECT_TRUE(error_of([&] { study.record(example_measurement(point)); })) << to_text(point);
  }
  EXPECT_TRUE(study.all().empty());
}

TEST_F(StudyTest, Notes) {
  Study study(path_);
  EXPECT_FALSE(study.note("curves"));
  const std::string text("[\"\u00e4\", 0\0]", 10);
  study.set_note("curves", "early");
  study.set_note("curves", text);
  study.set_note("'; DROP TABLE notes; --", "x");
  EXPECT_EQ(Study(path_).note("curves"), text);
  EXPECT_EQ(open_existing_study(path_).note("'; DROP TABLE notes; --"), "x");
}

TEST_F(StudyTest, FiguresCanBeAskedForInSql) {
  Study(path_).record(example_measurement());
  SQLite::Database database(path_);
  SQLite::Statement query(database,
                          "SELECT value, samples FROM figures JOIN measurements USING (point, regime) "
                          "WHERE figure = 'kld_mean' AND kv = 'k8v4g64' AND chunk = 256 AND context = 4608");
  ASSERT_TRUE(query.executeStep());
  EXPECT_EQ(query.getColumn(0).getDouble(), 0.0123);
  EXPECT_EQ(query.getColumn(1).getInt(), 8);
}

TEST_F(StudyTest, ReadingAloneWritesNothing) {
  Study(path_).record(example_measurement());
  Study study = open_existing_study(path_);
  EXPECT_EQ(study.all().size(), 1u);
  EXPECT_THAT(message_of([&] { study.record(example_measurement()); }), HasSubstr("write-protected"));
  EXPECT_THAT(message_of([&] { study.set_note("a", "b"); }), HasSubstr("write-protected"));
}

TEST_F(StudyTest, SpecialNamesOfSqliteAreFileNames) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  for (const std::string name : {":memory:", "file:a?mode=memory", "file::memory:"}) {
    Study(name).record(example_measurement());
    EXPECT_TRUE(fs::is_regular_file(name)) << name;
    EXPECT_EQ(Study(name).all().size(), 1u) << name;
  }
  fs::current_path(before);
}

TEST_F(StudyTest, WrongFiles) {
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("found a directory"));
  EXPECT_THAT(refusal(folder_ / "no/such/study.db"), HasSubstr("there is no folder " + (folder_ / "no/such")));
  EXPECT_THAT(message_of([] { Study(""); }), HasSubstr("found an empty text"));
  EXPECT_THAT(message_of([] { Study(std::string("a\0b", 3)); }), HasSubstr("zero byte"));
  EXPECT_THAT(refusal_to_read(path_), HasSubstr("No such file"));
  EXPECT_FALSE(fs::exists(path_));
  write_file(path_, std::string(5000, 'x'));
  EXPECT_THAT(refusal(path_), HasSubstr("found a file that is not SQLite"));
  EXPECT_THAT(refusal_to_read(path_), HasSubstr("found a file that is not SQLite"));
  EXPECT_EQ(read_file(path_), std::string(5000, 'x'));
}

TEST_F(StudyTest, AnEmptyFileBecomesAStudyButCannotBeReadAsOne) {
  write_file(path_, "");
  EXPECT_THAT(refusal_to_read(path_), HasSubstr("found an empty file"));
  EXPECT_EQ(refusal(path_), "no error");
  EXPECT_TRUE(open_existing_study(path_).all().empty());
}

TEST_F(StudyTest, DatabasesOfOthersAreLeftAlone) {
  { SQLite::Database(path_, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE).exec("CREATE TABLE recipes (cake TEXT)"); }
  const std::string before = read_file(path_);
  EXPECT_THAT(refusal(path_), HasSubstr("a SQLite database of another program"));
  EXPECT_THAT(refusal_to_read(path_), HasSubstr("a SQLite database of another program"));
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(StudyTest, ANewerSchemaIsRefused) {
  Study(path_).record(example_measurement());
  { SQLite::Database(path_, SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 2"); }
  const std::string before = read_file(path_);
  EXPECT_THAT(refusal(path_), HasSubstr("schema 2, made by a newer kvpareto; this one reads schema 1"));
  EXPECT_THAT(refusal_to_read(path_), HasSubstr("schema 2"));
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(StudyTest, ADamagedStudySaysSo) {
  {
    Study study(path_);
    for (int chunk = 1; chunk <= 50; ++chunk) study.record(example_measurement({"w16", "k8v8", chunk}));
  }
  const std::string whole = read_file(path_);
  for (const size_t size : {whole.size() / 2, size_t{8192}, size_t{4096}, size_t{600}, size_t{100}, size_t{50}}) {
    write_file(path_, whole.substr(0, size));
    const auto error = error_of([&] { open_existing_study(path_).all(); });
    ASSERT_TRUE(error) << size;
    EXPECT_THAT(error->what(), AllOf(StartsWith(path_ + ": "), Not(HasSubstr("\n"))));
  }
  std::string scribbled = whole;
  for (size_t i = 4096; i < scribbled.size(); i += 3) scribbled[i] = static_cast<char>(i * 31);
  write_file(path_, scribbled);
  EXPECT_TRUE(error_of([&] { open_existing_study(path_).all(); }));
}

TEST_F(StudyTest, AMeasurementThatDoesNotReadIsNamed) {
  Study(path_).record(example_measurement());
  { SQLite::Database(path_, SQLite::OPEN_READWRITE).exec("UPDATE measurements SET body = '{}', id = 17"); }
  EXPECT_EQ(message_of([&] { Study(path_).all(); }), path_ + ": measurement 17: wanted a field \"point\", found none");
}

// Write protection means nothing to root, so these run in a child that is nobody.
int as_nobody(const std::function<bool()>& check) {
  return wait_for_child(start_child([&] {
    if (::geteuid() == 0 && ::setuid(65534) != 0) return 1;
    return check() ? 0 : 2;
  }));
}

TEST_F(StudyTest, AnUnwritableFolder) {
  fs::permissions(folder_.path(), fs::perms(0555));
  EXPECT_EQ(as_nobody([&] {
              return refusal(path_) ==
                     path_ + ": cannot create the study: folder " + folder_.path() + ": Permission denied";
            }),
            0);
  EXPECT_FALSE(fs::exists(path_));
  fs::permissions(folder_.path(), fs::perms(0755));
  Study(path_).record(example_measurement());
  fs::permissions(path_, fs::perms(0666));
  fs::permissions(folder_.path(), fs::perms(0555));
  // The journal cannot be made beside the file: found out at once, not after the first measurement.
  EXPECT_EQ(
      as_nobody([&] { return refusal(path_) == path_ + ": cannot write: the file or its folder is write-protected"; }),
      0);
  EXPECT_EQ(as_nobody([&] { return open_existing_study(path_).all().size() == 1; }), 0);
}

TEST_F(StudyTest, AnUnwritableFile) {
  Study(path_).record(example_measurement());
  fs::permissions(folder_.path(), fs::perms(0777));
  fs::permissions(path_, fs::perms(0444));
  EXPECT_EQ(as_nobody([&] { return refusal(path_) == path_ + ": cannot write the study: Permission denied"; }), 0);
  EXPECT_EQ(as_nobody([&] { return open_existing_study(path_).all().size() == 1; }), 0);
  fs::permissions(path_, fs::perms(0000));
  EXPECT_EQ(as_nobody([&] { return refusal_to_read(path_) == path_ + ": cannot open the study: Permission denied"; }),
            0);
}

SampleResult example_sample(const std::string& name, double score) {
  return {name, {{"needle", score}, {"needle_nll", 1.0 / 3}}, "na\xc3\xafve \xff", 0.5};
}

TEST_F(StudyTest, KeepsSamplesByPointTaskAndSample) {
  const Point a{"w16", "k8v8", 256}, b{"w16", "k4v4", 256};
  {
    Study study(path_);
    study.record("hash", a, "needle", example_sample("s1", 0));
    study.record("hash", a, "needle", example_sample("s1", 1));  // takes the place
    study.record("hash", a, "needle", example_sample("s2", 0.5));
    study.record("hash", a, "mmlu", example_sample("s1", 0.25));
    study.record("hash", b, "needle", example_sample("s1", 0.75));
    study.record("other", a, "needle", example_sample("s1", 0.125));
  }
  const Study study = open_existing_study(path_);
  const auto found = study.samples("hash", a, "needle");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found.at("s1").scores, example_sample("s1", 1).scores);
  EXPECT_THAT(found.at("s1").answer, StartsWith("na\xc3\xafve"));
  EXPECT_EQ(found.at("s1").seconds, 0.5);
  EXPECT_EQ(found.at("s2").scores.at("needle"), 0.5);
  EXPECT_EQ(study.samples("hash", b, "needle").at("s1").scores.at("needle"), 0.75);
  EXPECT_TRUE(study.samples("hash", b, "mmlu").empty());
  EXPECT_TRUE(study.all().empty());
}

// Studies of before samples were kept lack their table.
TEST_F(StudyTest, AnOlderLayoutIsReadAndMigratedWhenWritten) {
  Study(path_).record(example_measurement());
  {
    SQLite::Database database(path_, SQLite::OPEN_READWRITE);
    database.exec("DROP TABLE samples");
  }
  EXPECT_TRUE(open_existing_study(path_).samples("hash", {}, "needle").empty());
  EXPECT_EQ(open_existing_study(path_).all().size(), 1u);
  Study study(path_);
  EXPECT_EQ(study.all().size(), 1u);
  study.record("hash", {}, "needle", example_sample("s1", 1));
  EXPECT_EQ(study.samples("hash", {}, "needle").size(), 1u);
}

}  // namespace
}  // namespace kvpareto
