#include "awq/refine.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr float kLargestF16 = 65504;
constexpr int kMostGroup = 128;

Tensor matrix(const std::vector<float>& values, int64_t rows, int64_t columns) {
  return tensor(const_cast<float*>(values.data()), rows, columns);
}

// One group of one row while it is gone over. What a value changes by adds change * (2 gradient + change * H_jj) to the
// output error.
struct Group {
  const float* moment;  // H of its columns, [size, size]
  float* gradient;      // [size]: E H
  float* change;        // [size]: of its values, so far
  uint8_t* codes;       // [size]
  f16& scale;
  int zero, size;
};

void move_codes(const Group& group, const WeightFormat& format) {
  const float scale = to_float(group.scale);
  const auto least = static_cast<float>(least_code(format)), most = static_cast<float>(most_code(format));
  for (int j = 0; j < group.size; ++j) {
    const float* moment = group.moment + j * group.size;
    const float step = moment[j] * scale;
    if (!(step > 0)) continue;  // smaller than f32 can hold
    const float wanted = static_cast<float>(group.codes[j]) - group.gradient[j] / step;
    const int code = static_cast<int>(std::clamp(wanted, least, most) + 0.5f);
    if (code == group.codes[j]) continue;
    const float by = scale * static_cast<float>(code - group.codes[j]);
    group.codes[j] = static_cast<uint8_t>(code);
    group.change[j] += by;
#pragma omp simd
    for (int i = 0; i < group.size; ++i) group.gradient[i] += by * moment[i];
  }
}

// Along what one step of the scale does to the group: its codes, less zero.
void move_scale(const Group& group) {
  float along[kMostGroup];
  for (int j = 0; j < group.size; ++j) along[j] = static_cast<float>(group.codes[j] - group.zero);
  float slope = 0, curvature = 0;
  for (int j = 0; j < group.size; ++j) {
    const float* moment = group.moment + j * group.size;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < group.size; ++i) sum += moment[i] * along[i];
    slope += along[j] * group.gradient[j];
    curvature += along[j] * sum;
  }
  if (!(curvature > 0)) return;
  const float scale = to_float(group.scale);
  const f16 better = to_f16(std::min(scale - slope / curvature, kLargestF16));
  const float by = to_float(better) - scale;
  // Half precision may step past what is gained.
  if (!(to_float(better) > 0 && by * (2 * slope + by * curvature) < 0)) return;
  group.scale = better;
  for (int j = 0; j < group.size; ++j) group.change[j] += by * along[j];
}

class Refiner {
 public:
  Refiner(Backend& backend, const Factor& factor, RoundedWeights& rounded)
      : backend_(backend),
        factor_(factor),
        rounded_(rounded),
        places_(static_cast<size_t>(rounded.columns)),
        behind_(rounded.codes.size()),
        changes_(static_cast<size_t>(rounded.rows * size())),
        gradients_(changes_.size()),
        moment_(static_cast<size_t>(size() * size())) {
    for (size_t place = 0; place < places_.size(); ++place) {
      places_[static_cast<size_t>(factor.order()[place])] = static_cast<int64_t>(place);
    }
  }

  void measure_errors(std::span<const float> weights) {
    for (int64_t g = 0; g < rounded_.groups(); ++g) {
      take_rows(g);
      parallel_ranges(rounded_.rows, 4, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          for (int64_t j = 0; j < size(); ++j) {
            const int64_t column = g * size() + j;
            changes_[static_cast<size_t>(r * size() + j)] =
                rounded_.value(r, column) - weights[static_cast<size_t>(r * rounded_.columns + column)];
          }
        }
      });
      carry_changes();
    }
  }

  void pass() {
    for (int64_t g = 0; g < rounded_.groups(); ++g) {
      take_rows(g);
      const Tensor weighted = matrix(weighted_, size(), rounded_.columns);
      backend_.product(matrix(behind_, rounded_.rows, rounded_.columns), weighted,
                       matrix(gradients_, rounded_.rows, size()), false);
      backend_.product(matrix(plain_, size(), rounded_.columns), weighted, matrix(moment_, size(), size()), false);
      std::fill(changes_.begin(), changes_.end(), 0.0f);
      parallel_ranges(rounded_.rows, 4, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) go_over(r, g);
      });
      carry_changes();
    }
  }

 private:
  int64_t size() const { return rounded_.format.group; }

  // The rows of U that belong to a group's columns, the triangle's ones and zeros filled in, and the same times D.
  void take_rows(int64_t g) {
    const int64_t columns = rounded_.columns;
    plain_.assign(static_cast<size_t>(size() * columns), 0);
    weighted_.assign(plain_.size(), 0);
    parallel_ranges(size(), 1, [&](int64_t first, int64_t last) {
      for (int64_t j = first; j < last; ++j) {
        const int64_t place = places_[static_cast<size_t>(g * size() + j)];
        float* plain = plain_.data() + j * columns;
        plain[place] = 1;
        std::copy(factor_.row(place) + place + 1, factor_.row(place) + columns, plain + place + 1);
        float* weighted = weighted_.data() + j * columns;
        for (int64_t k = place; k < columns; ++k) weighted[k] = plain[k] * factor_.pivots()[static_cast<size_t>(k)];
      }
    });
  }

  void go_over(int64_t row, int64_t g) {
    const auto place = static_cast<size_t>(row * rounded_.groups() + g);
    const Group group{moment_.data(),
                      gradients_.data() + row * size(),
                      changes_.data() + row * size(),
                      rounded_.codes.data() + row * rounded_.columns + g * size(),
                      rounded_.scales[place],
                      rounded_.zeros[place],
                      static_cast<int>(size())};
    if (!(to_float(group.scale) > 0)) return;
    move_codes(group, rounded_.format);
    move_scale(group);
  }

  // behind += changes U, of the group whose rows were taken last.
  void carry_changes() {
    const int64_t columns = rounded_.columns;
    std::vector<float> turned(plain_.size());  // [columns, size]
    parallel_ranges(columns, 64, [&](int64_t first, int64_t last) {
      for (int64_t j = 0; j < size(); ++j) {
        const float* row = plain_.data() + j * columns;
        for (int64_t k = first; k < last; ++k) turned[static_cast<size_t>(k * size() + j)] = row[k];
      }
    });
    backend_.product(matrix(changes_, rounded_.rows, size()), matrix(turned, columns, size()),
                     matrix(behind_, rounded_.rows, columns), true);
  }

  Backend& backend_;
  const Factor& factor_;
  RoundedWeights& rounded_;
  std::vector<int64_t> places_;             // of each column in the factor's order
  std::vector<float> behind_;               // E U [rows, columns], columns by place
  std::vector<float> changes_, gradients_;  // of one group [rows, size]
  std::vector<float> plain_, weighted_;     // [size, columns] by place
  std::vector<float> moment_;               // [size, size]
};

}  // namespace

void refine(Backend& backend, std::span<const float> weights, const Factor& factor, int passes,
            RoundedWeights& rounded) {
  Refiner refiner(backend, factor, rounded);
  refiner.measure_errors(weights);
  for (int pass = 0; pass < passes; ++pass) refiner.pass();
}

}  // namespace kvpareto
