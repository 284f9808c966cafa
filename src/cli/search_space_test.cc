#include "cli/search_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "model/testing.h"
#include "quant/mixed_weights.h"

namespace kvpareto {
namespace {

using testing::HasSubstr;

constexpr int kContext = 64;

class SearchSpace : public testing::Test {
 protected:
  ModelSpace make(const std::string& toml) {
    SpaceOptions options;
    options.name = folder_ / "own.toml";
    write_file(options.name, toml);
    return make_space(options, *checkpoint_, *backend_, kContext);
  }

  std::string refusal(const std::string& toml) {
    const auto error = error_of([&] { make(toml); });
    return error ? error->what() : "";
  }

  size_t weights_of(const std::string& text) {
    return weights_bytes(shape_, plan_weights(*checkpoint_, shape_, parse_weights(text)), *backend_);
  }

  std::unique_ptr<Checkpoint> checkpoint_ = open_tiny("tiny-llama");
  std::unique_ptr<Backend> backend_ = make_backend("reference");
  ModelShape shape_ = read_shape(*checkpoint_);
  TemporaryFolder folder_;
};

const std::string kSides = "keys = ['16', '4g32']\nvalues = ['16', '8g32']\n";
const std::string kLinears = "linears = ['w16', 'w8g32', 'w4g32']\nembedding = ['16', '8', '4']\n";

// Whatever is chosen for a place is what the scheme has there, and the bytes are those of its plan.
TEST_F(SearchSpace, GivesEveryLinearWhatItsAxisChose) {
  for (const auto& [per, axes] : {std::pair("model", 1), {"kind", 4}, {"layer", 4 * shape_.layers}}) {
    const Space space = make(kSides + kLinears + "linears_per = '" + per + "'\n").space;
    const auto count = std::ranges::count(space.axes, std::string("weights"), &Axis::part);
    ASSERT_EQ(count, axes);
    Random random(3);
    for (int round = 0; round < 20; ++round) {
      const Choices choices = random_choices(space, random);
      const Made made = space.make(choices);
      ASSERT_TRUE(made.valid()) << made.reason;
      const WeightScheme scheme = parse_weights(made.point.weights);
      for (int place = 0; place < shape_.layers * 4; ++place) {
        const auto axis = static_cast<size_t>(place % axes);
        EXPECT_EQ(to_text(scheme.at(place / 4, static_cast<LinearKind>(place % 4))),
                  space.axes[axis].choices[static_cast<size_t>(choices[axis])])
            << made.point.weights;
      }
      const auto table = static_cast<size_t>(axes);
      const std::string& chosen = space.axes[table].choices[static_cast<size_t>(choices[table])];
      EXPECT_EQ(scheme.table, parse_weights("w16e" + chosen).table) << made.point.weights;
      Point unweighted = made.point;
      unweighted.weights = Point().weights;
      EXPECT_EQ(space.bytes(made.point) - static_cast<double>(weights_of(made.point.weights)),
                space.bytes(unweighted) - static_cast<double>(weights_of("w16")));
    }
  }
}

TEST_F(SearchSpace, RefusesLinearsThatAreMore) {
  EXPECT_THAT(refusal(kSides + "linears = ['w4g32.awq']"), HasSubstr("bits and group alone"));
  EXPECT_THAT(refusal(kSides + "linears = ['w16', 'w4g32e8']"), HasSubstr("bits and group alone"));
  EXPECT_THAT(refusal(kSides + "linears = ['w5']"), HasSubstr("16, 8, 4 or 3"));
  EXPECT_THAT(refusal(kSides + "linears = ['w8g32']\nembedding = ['8.a16']"), HasSubstr("as in 8"));
  EXPECT_THAT(refusal(kSides + "linears = ['w8g32']\nlinears_per = 'head'"), HasSubstr("\"kind\""));
  EXPECT_THAT(refusal(kSides + "linears = ['w8g32']\nweights = ['w16']"), HasSubstr("found both"));
  EXPECT_THAT(refusal(kSides + "embedding = ['8']"), HasSubstr("'linears'"));
}

}  // namespace
}  // namespace kvpareto
