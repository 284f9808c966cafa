#include "cli/search_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvpareto {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<Screened> screening() {
  return {{"needle", {1, 0, 16}, 0, Standing::kUsable},
          {"gsm8k", {0, 0, 16}, 0, Standing::kTooHard},
          {"hotpotqa", {0.2, 0.1, 16}, 0.3, Standing::kUnstable},
          {"wikitext2", {20, 1, 8}, 0, Standing::kUsable}};
}

TEST(SearchTasks, AreThoseThatTheScreeningFoundUsable) {
  const ChosenTasks chosen = choose_tasks({}, screening());
  EXPECT_THAT(chosen.tasks, ElementsAre("needle", "wikitext2"));
  EXPECT_THAT(chosen.note, HasSubstr("needle, wikitext2: the model can do them"));
  EXPECT_THAT(chosen.note, HasSubstr("gsm8k (too hard), hotpotqa (unstable)"));
}

TEST(SearchTasks, NamedOnesAreLeftOutToo) {
  const ChosenTasks chosen = choose_tasks({"gsm8k", "needle", "key_value"}, screening());
  EXPECT_THAT(chosen.tasks, ElementsAre("needle", "key_value"));
  EXPECT_THAT(chosen.note, HasSubstr("key_value: not screened"));
  EXPECT_THAT(chosen.note, HasSubstr("gsm8k (too hard)"));
  EXPECT_THAT(choose_tasks({"gsm8k"}, screening()).tasks, IsEmpty());
}

TEST(SearchTasks, AreRetrievalWhereNothingIsKnown) {
  const ChosenTasks chosen = choose_tasks({}, {});
  EXPECT_THAT(chosen.tasks, ElementsAre("needle", "needle_multikey"));
  EXPECT_THAT(chosen.note, HasSubstr("--screen"));
  EXPECT_THAT(chosen.note, Not(HasSubstr("left out")));
}

}  // namespace
}  // namespace kvpareto
