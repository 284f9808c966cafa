// The row of a head that a greedy choice takes, mostly from the high bits of its codes.

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>

#include "backend/cpu/linear.h"
#include "backend/cpu/panel_jobs.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

constexpr int64_t kRowsSearched = 4096;

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
  float value() const { return value_.load(std::memory_order_relaxed); }
  int64_t place() const { return place_; }

 private:
  std::mutex mutex_;
  std::atomic<float> value_ = -std::numeric_limits<float>::infinity();
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

// The rows of a head that may be the best by the high bits of their codes: one product, the job's.
class RowSearch {
 public:
  // Bounds and likely products of panels lie in `space`, two numbers each.
  RowSearch(const LinearKernels& kernels, const PanelJob& job, float* space, float* slices)
      : kernels_(kernels), job_(job), panels_(panels_of(job.rows)), space_(space), slices_(slices) {
    job_.out = space;
  }

  // Whether leaving panels out is likely to pay: of a part of them, not more than a quarter could hold the best row.
  bool pays() {
    bounded_ = panels_ / kSampled;
    bound(0, bounded_);
    int64_t kept = 0;
    for (int64_t p = 0; p < bounded_; ++p) kept += bound_of(p) >= likeliest_.value();
    return 4 * kept <= bounded_;
  }

  int64_t best() {
    bound(bounded_, panels_);
    const int64_t likeliest = likeliest_.place();
    multiply(likeliest);
    // Likely rows are neighbours: in small pieces they are not all one thread's.
    parallel_for((panels_ + kPanelsSearched - 1) / kPanelsSearched, [&](int64_t piece) {
      const int64_t first = piece * kPanelsSearched;
      for (int64_t p = first; p < std::min(panels_, first + kPanelsSearched); ++p) {
        if (bound_of(p) >= best_.value() && p != likeliest) multiply(p);
      }
    });
    return best_.place();
  }

 private:
  static constexpr int64_t kSampled = 16, kPanelsSearched = 32;

  float bound_of(int64_t panel) const { return space_[2 * panel]; }
  float likely_of(int64_t panel) const { return space_[2 * panel + 1]; }

  void bound(int64_t begin, int64_t end) {
    parallel_ranges(end - begin, kPanelsAtOnce, [&](int64_t first, int64_t last) {
      kernels_.bound_panels(job_, begin + first, begin + last);
      int64_t likeliest = begin + first;
      for (int64_t p = likeliest; p < begin + last; ++p) {
        if (likely_of(p) > likely_of(likeliest)) likeliest = p;
      }
      likeliest_.offer(likely_of(likeliest), likeliest);
    });
  }

  // All bits of a panel, by the sums of a product of the whole head.
  void multiply(int64_t panel) {
    float products[kPanelRows];
    PanelJob one = job_;
    one.panels = job_.panels + panel;
    one.rows = std::min<int64_t>(kPanelRows, job_.rows - panel * kPanelRows);
    one.out = products;
    kernels_.panels_int8(one, 0, 1, slices_ + thread_number() * kSliceFloats);
    best_.offer(products, one.rows, panel * kPanelRows);
  }

  const LinearKernels& kernels_;
  PanelJob job_;
  const int64_t panels_;
  float *space_, *slices_;
  int64_t bounded_ = 0;
  Largest likeliest_, best_;
};

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

int64_t CpuLinears::best_row(const HostLinear& matrix, Tensor x, Tensor products, Tensor scratch) {
  if (matrix.rows() == 1) return 0;  // a product has no space for two numbers
  if (bounds_rows(matrix)) {
    const WeightSegment& weight = matrix.segments().front();
    char* place = static_cast<char*>(scratch.data) + slices_bytes();
    auto* squares = reinterpret_cast<float*>(place + rounded_bytes(1, weight.columns));
    PanelJob job = rounded(x, weight.format, place);
    set_weight(weight, 0, weight.rows, nullptr, job);
    sum_squares(job, squares);
    job.squares = squares;
    RowSearch search(linear_kernels_, job, products.as<float>(), static_cast<float*>(scratch.data));
    if (search.pays()) return search.best();
  }
  multiply(matrix, x, products, false, scratch);
  Largest best;
  parallel_ranges(matrix.rows(), kRowsSearched,
                  [&](int64_t first, int64_t last) { best.offer(products.as<float>() + first, last - first, first); });
  return best.place();
}

}  // namespace kvpareto
