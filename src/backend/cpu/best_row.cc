// The row of a head that a greedy choice takes, mostly from the high bits of its codes.

#include <algorithm>
#include <limits>
#include <mutex>

#include "backend/cpu/linear.h"
#include "backend/cpu/panel_jobs.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kRowsSearched = 4096, kPanelsSearched = 32;

// In vectors: what a search one by one takes a large vocabulary for is a fiftieth of a step.
float largest_of(const float* values, int64_t count) {
  constexpr int kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] = values[i + l] > lanes[l] ? values[i + l] : lanes[l];
  }
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; i < count; ++i) largest = std::max(largest, values[i]);
  return largest;
}

// The largest of the numbers offered from several threads; of equal ones that of the smallest place.
class Largest {
 public:
  void offer(float value, int64_t place) {
    const std::lock_guard lock(mutex_);
    if (value > value_ || (value == value_ && place < place_)) {
      value_ = value;
      place_ = place;
    }
  }
  void offer(const float* values, int64_t count, int64_t first_place) {
    const float largest = largest_of(values, count);
    offer(largest, first_place + (std::find(values, values + count, largest) - values));
  }
  float value() const { return value_; }
  int64_t place() const { return place_; }

 private:
  std::mutex mutex_;
  float value_ = -std::numeric_limits<float>::infinity();
  int64_t place_ = 0;
};

// Of the job's one input, as PanelJob wants them.
void sum_squares(const PanelJob& job, float* squares) {
  const int64_t sub = job.format().sub(), run = std::min<int64_t>(sub, kPanelColumns);
  std::fill_n(squares, job.columns() / sub, 0.0f);
  for (int64_t c = 0; c < job.columns(); c += run) {
    int32_t sum = 0;
    for (int64_t i = c; i < c + run; ++i) sum += job.codes[i] * job.codes[i];
    const float scale = job.scales[c / kPanelColumns];
    squares[c / sub] += scale * scale * static_cast<float>(sum);
  }
}

}  // namespace

// Whether rows can be left out.
bool CpuLinears::bounds_rows(const HostLinear& matrix) const {
  const LinearSpec& spec = matrix.spec();
  return spec.parts.size() == 1 && is_apart(spec.parts.front().format.codec) && rounds(spec, spec.parts.front()) &&
         !spec.bias;
}

size_t CpuLinears::best_row_bytes(const HostLinear& matrix) const {
  if (!bounds_rows(matrix)) return matrix.bytes();
  const WeightSegment& weight = matrix.segments().front();
  return panel_bytes(weight.format, weight.columns) * static_cast<size_t>(panels_of(weight.rows));
}

// What no row of a panel passes, for all panels; then the products of those whose bound is not below the largest so
// far.
int64_t CpuLinears::best_row(const HostLinear& matrix, Tensor x, Tensor products, Tensor scratch) {
  Largest best;
  if (!bounds_rows(matrix)) {
    multiply(matrix, x, products, false, scratch);
    parallel_ranges(matrix.rows(), kRowsSearched, [&](int64_t first, int64_t last) {
      best.offer(products.as<float>() + first, last - first, first);
    });
    return best.place();
  }
  const WeightSegment& weight = matrix.segments().front();
  const int64_t panels = panels_of(weight.rows);
  char* place = static_cast<char*>(scratch.data) + slices_bytes();
  auto* squares = reinterpret_cast<float*>(place + rounded_bytes(1, weight.columns));
  auto* bounds = products.as<float>();
  PanelJob job = rounded(x, weight.format, place);
  set_weight(weight, 0, weight.rows, nullptr, job);
  set_result(products, false, job);
  sum_squares(job, squares);
  job.squares = squares;
  Largest highest_bound;
  parallel_ranges(panels, kPanelsAtOnce, [&](int64_t first, int64_t last) {
    linear_kernels_.bound_panels(job, first, last);
    highest_bound.offer(bounds + first, last - first, first);
  });

  const auto multiply_panel = [&](int64_t p) {
    float of_panel[kPanelRows];
    PanelJob one = job;
    set_weight(weight, p * kPanelRows, std::min<int64_t>(kPanelRows, weight.rows - p * kPanelRows), nullptr, one);
    one.out = of_panel;
    linear_kernels_.panels_int8(one, 0, 1, static_cast<float*>(scratch.data) + thread_number() * kSliceFloats);
    best.offer(of_panel, one.rows, p * kPanelRows);
  };
  const int64_t likeliest = highest_bound.place();
  multiply_panel(likeliest);
  const float enough = best.value();
  // Likely rows are neighbours: in small pieces they are not all one thread's.
  parallel_for((panels + kPanelsSearched - 1) / kPanelsSearched, [&](int64_t piece) {
    const int64_t first = piece * kPanelsSearched;
    for (int64_t p = first; p < std::min(panels, first + kPanelsSearched); ++p) {
      if (bounds[p] >= enough && p != likeliest) multiply_panel(p);
    }
  });
  return best.place();
}

}  // namespace kvpareto
