#include "backend/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/host_linear.h"
#include "backend/host_memory.h"
#include "base/parallel.h"

namespace kvpareto {
namespace {

class ReferenceBackend : public Backend {
 public:
  std::string name() const override { return "reference"; }
  DType activation() const override { return DType::kF32; }

  using Backend::make_linear;
  std::unique_ptr<Linear> make_linear(const LinearSpec& spec, std::span<const WeightSource> sources,
                                      std::span<const float> bias) override {
    return make_host_linear(*this, spec, sources, bias);
  }
  size_t linear_bytes(const LinearSpec& spec) const override { return host_linear_bytes(spec); }
  size_t linear_scratch_bytes(int64_t, const LinearSpec&) const override { return 0; }
  bool rounds_inputs(int64_t, const LinearSpec& spec) const override { return spec.activations == Activations::kInt8; }

  void embed(const Linear& table, std::span<const int32_t> tokens, Tensor out) override {
    for (size_t t = 0; t < tokens.size(); ++t) {
      static_cast<const HostLinear&>(table).decode_row(tokens[t], out.row<float>(static_cast<int64_t>(t)));
    }
  }

  void rms_norm(Tensor x, const float* weight, float epsilon, Tensor out) override {
    for (int64_t t = 0; t < x.rows(); ++t) {
      const float* row = x.row<float>(t);
      double squares = 0;
      for (int64_t c = 0; c < x.columns(); ++c) squares += static_cast<double>(row[c]) * row[c];
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.columns()) + epsilon);
      for (int64_t c = 0; c < x.columns(); ++c) out.row<float>(t)[c] = static_cast<float>(row[c] * inverse * weight[c]);
    }
  }

  void linear(const Linear& weight, Tensor x, Tensor out, bool accumulate, Tensor) override {
    const auto& matrix = static_cast<const HostLinear&>(weight);
    const std::vector<double> exact = inputs(x, false), rounded = inputs(x, true);
    const bool int8 = matrix.spec().activations == Activations::kInt8;
    for (const WeightSegment& segment : matrix.segments()) {
      const std::vector<double>& in = int8 && !segment.is_bf16() ? rounded : exact;
      parallel_for(segment.rows, [&](int64_t i) {
        const int64_t r = segment.first_row + i;
        std::vector<double> row(static_cast<size_t>(segment.columns));
        matrix.decode_row(r, row.data());
        for (int64_t t = 0; t < x.rows(); ++t) {
          double sum = matrix.bias() != nullptr ? matrix.bias()[r] : 0.0;
          for (size_t c = 0; c < row.size(); ++c) sum += in[static_cast<size_t>(t) * row.size() + c] * row[c];
          float& place = out.row<float>(t)[r];
          place = static_cast<float>(accumulate ? place + sum : sum);
        }
      });
    }
  }

  void product(Tensor a, Tensor b, Tensor out, bool accumulate) override {
    parallel_for(a.rows(), [&](int64_t i) {
      for (int64_t j = 0; j < b.rows(); ++j) {
        double sum = accumulate ? out.row<float>(i)[j] : 0;
        for (int64_t k = 0; k < a.columns(); ++k) sum += static_cast<double>(a.row<float>(i)[k]) * b.row<float>(j)[k];
        out.row<float>(i)[j] = static_cast<float>(sum);
      }
    });
  }

  void rope(Tensor x, const float* turns) override {
    const int64_t half = x.shape[2] / 2;
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t h = 0; h < x.shape[1]; ++h) {
        float* head = x.row<float>(t) + h * x.shape[2];
        for (int64_t c = 0; c < half; ++c) {
          const double cosine = turns[2 * t * half + c], sine = turns[(2 * t + 1) * half + c];
          const double a = head[c], b = head[c + half];
          head[c] = static_cast<float>(a * cosine - b * sine);
          head[c + half] = static_cast<float>(b * cosine + a * sine);
        }
      }
    }
  }

  void swiglu(Tensor gate_up, Tensor out) override {
    for (int64_t t = 0; t < out.rows(); ++t) {
      const float* gate = gate_up.row<float>(t);
      const float* up = gate + out.columns();
      for (int64_t c = 0; c < out.columns(); ++c) {
        const double g = gate[c];
        out.row<float>(t)[c] = static_cast<float>(g / (1 + std::exp(-g)) * up[c]);
      }
    }
  }

  void transform(Tensor x, bool rotate, const float* offset) override {
    const int64_t d = x.shape[2];
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t h = 0; h < x.shape[1]; ++h) {
        float* head = x.row<float>(t) + h * d;
        if (rotate) hadamard(head, static_cast<int>(d));
        for (int64_t c = 0; offset != nullptr && c < d; ++c) head[c] -= offset[h * d + c];
      }
    }
  }

  void pack(Tensor x, int64_t first, const PackedSide& side) override {
    store_rows(side, x.as<float>(), x.row_stride, x.rows(), first);
  }

  void freeze(const PackedSide& side, bool find_mean) override { freeze_side(side, find_mean); }

  void attend(Tensor queries, int64_t first, const PackedSide& keys, const PackedSide& values, int kv_heads, Tensor out,
              Tensor) override {
    const int64_t heads = queries.shape[1], d = queries.shape[2];
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    parallel_for(heads, [&](int64_t h) {
      const int64_t kv_head = h / (heads / kv_heads);
      std::vector<float> row(static_cast<size_t>(d));
      std::vector<double> scores, sum(static_cast<size_t>(d));
      for (int64_t t = 0; t < queries.rows(); ++t) {
        const float* query = queries.row<float>(t) + h * d;
        scores.assign(static_cast<size_t>(first + t + 1), 0.0);
        for (size_t s = 0; s < scores.size(); ++s) {
          decode_row(keys, kv_head, static_cast<int64_t>(s), row.data());
          for (int64_t c = 0; c < d; ++c) scores[s] += scale * query[c] * row[static_cast<size_t>(c)];
        }
        const double highest = *std::max_element(scores.begin(), scores.end());
        double mass = 0;
        std::fill(sum.begin(), sum.end(), 0.0);
        for (size_t s = 0; s < scores.size(); ++s) {
          const double p = std::exp(scores[s] - highest);
          decode_row(values, kv_head, static_cast<int64_t>(s), row.data());
          for (int64_t c = 0; c < d; ++c) sum[static_cast<size_t>(c)] += p * row[static_cast<size_t>(c)];
          mass += p;
        }
        float* mean = out.row<float>(t) + h * d;
        for (int64_t c = 0; c < d; ++c) mean[c] = static_cast<float>(sum[static_cast<size_t>(c)] / mass);
        restore_values(values, kv_head, mean);
      }
    });
  }
  size_t attend_scratch_bytes(int64_t, int64_t, int, int, int) const override { return 0; }

 protected:
  void* obtain(size_t bytes) override { return obtain_pages(bytes); }
  void give_up(void* data, size_t bytes) override { give_up_pages(data, bytes); }

 private:
  // x as numbers; those of whole blocks of 32 as round_inputs() leaves them if asked.
  static std::vector<double> inputs(Tensor x, bool int8) {
    std::vector<double> out;
    for (int64_t t = 0; t < x.rows(); ++t) {
      const float* row = x.row<float>(t);
      out.insert(out.end(), row, row + x.columns());
      for (int64_t c = 0; int8 && c + kPanelColumns <= x.columns(); c += kPanelColumns) {
        int8_t codes[kPanelColumns];
        const double scale = round_inputs(row + c, codes);
        for (int i = 0; i < kPanelColumns; ++i) out[static_cast<size_t>(t * x.columns() + c + i)] = scale * codes[i];
      }
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace kvpareto
