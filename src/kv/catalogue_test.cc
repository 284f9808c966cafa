#include "kv/catalogue.h"

#include <gtest/gtest.h>

#include <set>

namespace kvpareto {
namespace {

TEST(Catalogue, TextsAreCanonicalAndDifferent) {
  std::set<std::string_view> names, texts;
  for (const NamedScheme& named : catalogue()) {
    EXPECT_EQ(to_text(parse_scheme(named.text)), named.text);
    EXPECT_TRUE(names.insert(named.name).second) << named.name;
    EXPECT_TRUE(texts.insert(named.text).second) << named.text;
    EXPECT_EQ(find_scheme(named.name), parse_scheme(named.text));
    EXPECT_EQ(find_scheme(named.text), parse_scheme(named.text));
  }
}

TEST(Catalogue, HeadsGetWhatTheyCanHold) {
  EXPECT_EQ(fitting_schemes(2, 64, true).size(), catalogue().size());
  EXPECT_EQ(fitting_schemes(2, 64, false).size(), catalogue().size() - 1);  // no bias to take off
  for (const KvScheme& scheme : fitting_schemes(2, 32, true)) EXPECT_EQ(why_invalid(scheme, 2, 32, true), "");
}

}  // namespace
}  // namespace kvpareto
