#pragma once
// Measurements as JSON. One list of fields (visit_fields in measurement_json.cc) drives writing, reading and the key of
// a regime; to add a field, add it to its struct and there.
//
// What JSON lacks: NaN is null; infinities are "inf" and "-inf". Text that is not UTF-8 gets U+FFFD in place of what is
// wrong. A field that is absent keeps its default, so that records outlive the addition of fields; unknown ones are
// passed over. Only "point" and "state" must be there.

#include <string>
#include <string_view>

#include "study/measurement.h"
#include "study/sample_result.h"

namespace kvpareto {

// One line, no line break.
std::string to_json(const Measurement& measurement);

// Throws Error (kFailure) that begins with `where` and names the field at fault.
Measurement measurement_from_json(std::string_view json, std::string_view where);

// The same of one sample's result; only "sample" must be there.
std::string to_json(const SampleResult& result);
SampleResult sample_result_from_json(std::string_view json, std::string_view where);

// Equal circumstances have equal keys. The model's file name plays no part (its fingerprint does), nor do fields that
// hold their default: a field added later leaves earlier keys as they are.
std::string regime_key(const Regime& regime);

// The circumstances of one point among those of all: what AWQ weights are fitted to means nothing to weights that are
// fitted to nothing, so these are measured once.
Regime regime_of(Regime regime, const Point& point);
bool is_fitted(const Point& point);  // its weights end in .awq
// Whose answers to a task's questions are the same ones: the checkpoint's fingerprint, and what its weights are fitted
// to.
std::string model_key(const Regime& regime, const Point& point);

}  // namespace kvpareto
