#pragma once
// What a study says, before it is drawn: baseline, front, recommendation, what is broken and why. Every chart and every
// sentence of the page reads from here, so that they agree.

#include <optional>
#include <string>
#include <vector>

#include "report/report.h"
#include "report/scheme_bits.h"
#include "search/confidence.h"
#include "search/sensitivity.h"

namespace kvpareto {

struct Findings {
  std::vector<Measurement> points;  // of one regime
  std::vector<MemoryCurve> curves;
  Sensitivity sensitivity, weight_sensitivity;  // of single layers; measured under circumstances of their own
  size_t left_out = 0;  // measurements of another regime than the first one's, which cannot be compared
  double max_loss = 0;  // nats/token

  Front front;
  FrontConfidence confidence;
  std::vector<bool> on_front;         // for every point
  int chunk = 0;                      // the chunk most points were measured with; of two, the smaller
  std::optional<size_t> baseline;     // 16-bit keys and values, at `chunk` if that was measured
  std::optional<size_t> recommended;  // by search/recommend.h: the knee, if nothing else was asked for

  bool complete(size_t i) const;  // has both objectives
  double cost(size_t i) const { return points[i].value("peak_bytes"); }
  double loss(size_t i) const { return points[i].value("kld_mean"); }
  bool broken(size_t i) const { return complete(i) && loss(i) > max_loss; }
  // File name of the model; empty if nothing was measured.
  std::string model() const;
  size_t count_complete() const;
  size_t count_broken() const;
  bool several_chunks() const;
  // "k8v4g32", with "·128" for a chunk other than the usual one: short enough for a chart.
  std::string label(size_t i) const;
};

Findings read_study(const ReportInput& input);

// Every figure of a point, one "label<tab>value" a line under a line with its name; the text of tooltips.
std::string tooltip(const Findings& findings, size_t i);
// Of a side of a layer: its divergence, and how many times the median layer's that is.
std::string tooltip(const Sensitivity& table, const Sensitivity::Layer& row, size_t side);

// How sure the front is, in one sentence: intervals of its knee and its hypervolume.
std::string confidence_in_words(const Findings& findings);

// What the broken points have in common in words ("every configuration with keys of 4 bits or fewer"), if one limit on
// the bits of keys, of values, or of either tells them from all others; else empty.
std::string common_cause(const Findings& findings);

// The steepest step down in key bits that ends above the limit, as a sentence; empty if none multiplies the divergence
// by ten or more.
std::string cliff(const Findings& findings);

}  // namespace kvpareto
